"""Nano's training data: shoppers' questions paired with images and titles of products.

Nothing here is held out by row but by combination: a product whose noun, colour, pattern and count
belong together in the held-out part (`Product.is_held_out`) never appears.
"""

import random
from dataclasses import dataclass

import torch

from catalog.bazaar import questions, wording
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.world import Product, near_miss, random_product
from embedder.content import Content
from embedder.prompting.template import item_text

TIER_WEIGHTS = (0.4, 0.3, 0.3)  # literal, indirect, composed
IMAGE_QUERY_SHARE = 0.12
IMAGE_SHARE = 0.9
FIELD_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class CurriculumPair:
    """One query with its item, and the right way to reason about each."""

    product: Product
    query: Content
    query_rationale: str
    query_summary: str
    needs_reason: bool
    item: Content
    item_rationale: str
    item_summary: str
    question: questions.Question | None
    """None when the query is an image."""

    def fits(self, product: Product) -> bool:
        """Whether another pair's product would be a right answer too."""
        if self.question is None:
            return product.name == self.product.name
        return self.question.fits(product)


def curriculum_pairs(num_pairs: int, *, seed: int, step: int) -> list[CurriculumPair]:
    """Return the pairs of one training step; they depend on nothing but the seed and the step.

    Every second product differs from the one before it in a single value, so that each batch holds
    hard negatives.
    """
    rng = random.Random(f"{seed}/{step}")
    products: list[Product] = []
    while len(products) < num_pairs:
        base = random_product(rng)
        for product in (base, near_miss(base, rng)):
            if not product.is_held_out:
                products.append(product)
    return [_pair(product, rng) for product in products[:num_pairs]]


def false_negatives(batch: list[CurriculumPair]) -> torch.Tensor:
    """Return [B, B], True where the item of a column also answers the query of a row."""
    return torch.tensor([[row.fits(column.product) for column in batch] for row in batch])


def _pair(product: Product, rng: random.Random) -> CurriculumPair:
    item_rationale = f"the label says {product.brand.lower()}"
    item = _item(product, rng)
    if rng.random() < IMAGE_QUERY_SHARE:
        query = Content(image=png(draw(product, rng)))
        return CurriculumPair(
            product,
            query,
            item_rationale,
            product.name,
            False,
            item,
            item_rationale,
            product.name,
            None,
        )
    tier = rng.choices(questions.TIERS, TIER_WEIGHTS)[0]
    question = questions.ask(product, tier, rng)
    return CurriculumPair(
        product,
        Content(question.text),
        question.rationale,
        question.summary,
        tier != "literal",
        item,
        item_rationale,
        product.name,
        question,
    )


def _item(product: Product, rng: random.Random) -> Content:
    """Show the product as a catalogue does, with fields missing at random (SAIL, section 3.2)."""
    has_image = rng.random() < IMAGE_SHARE
    keep = rng.choice((0.3, 0.6, 1.0)) if has_image else 1.0
    has_title = rng.random() < FIELD_SHARE or not has_image
    title = wording.title(product, rng, keep=keep) if has_title else None
    text = wording.description(product, rng) if rng.random() < FIELD_SHARE else None
    category = product.category if rng.random() < FIELD_SHARE else None
    image = png(draw(product, rng)) if has_image else None
    return Content(item_text(title, text, category), image)
