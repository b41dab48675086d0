"""What nano learns from: shoppers' questions paired with pictures and titles of products.

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
PICTURE_QUERY_SHARE = 0.12
PICTURE_SHARE = 0.9
FIELD_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Lesson:
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
    """None when the query is a picture."""

    def fits(self, product: Product) -> bool:
        """Whether another lesson's product would be a right answer too."""
        if self.question is None:
            return product.name == self.product.name
        return self.question.fits(product)


def lessons(num_lessons: int, *, seed: int, step: int) -> list[Lesson]:
    """The lessons of one training step; they depend on nothing but the seed and the step.

    Every second product differs from the one before it in a single value, so that each batch holds
    hard negatives.
    """
    source = random.Random(f"{seed}/{step}")
    products: list[Product] = []
    while len(products) < num_lessons:
        base = random_product(source)
        for product in (base, near_miss(base, source)):
            if not product.is_held_out:
                products.append(product)
    return [_lesson(product, source) for product in products[:num_lessons]]


def false_negatives(batch: list[Lesson]) -> torch.Tensor:
    """[B, B] True where the item of a column also answers the query of a row."""
    return torch.tensor([[row.fits(column.product) for column in batch] for row in batch])


def _lesson(product: Product, source: random.Random) -> Lesson:
    item_rationale = f"the label says {product.brand.lower()}"
    item = _item(product, source)
    if source.random() < PICTURE_QUERY_SHARE:
        query = Content(image=png(draw(product, source)))
        return Lesson(
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
    tier = source.choices(questions.TIERS, TIER_WEIGHTS)[0]
    question = questions.ask(product, tier, source)
    return Lesson(
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


def _item(product: Product, source: random.Random) -> Content:
    """The product as a catalogue shows it, with fields missing at random (SAIL, section 3.2)."""
    has_picture = source.random() < PICTURE_SHARE
    keep = source.choice((0.3, 0.6, 1.0)) if has_picture else 1.0
    has_title = source.random() < FIELD_SHARE or not has_picture
    title = wording.title(product, source, keep=keep) if has_title else None
    text = wording.description(product, source) if source.random() < FIELD_SHARE else None
    category = product.category if source.random() < FIELD_SHARE else None
    image = png(draw(product, source)) if has_picture else None
    return Content(item_text(title, text, category), image)
