"""Riddles as pairs of a query with its item: what nano is fine-tuned on.

Beside the riddles stand pairs of the curriculum that nano grew up with, so that it goes on reading
full listings and image queries. The world's difficulty was fixed by direct training alone
(docs/reasoning.md) and stays as it is.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from catalog.bazaar import riddles, wording
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.questions import Question
from catalog.bazaar.rationales import Answer
from catalog.bazaar.riddles import Riddle
from catalog.bazaar.world import Product, near_miss, random_product
from embedder.content import Content
from embedder.finetune.data.pairs import Negative, Pair
from embedder.nano.curriculum import CurriculumPair, curriculum_pairs
from embedder.prompting.template import item_text

TIER_WEIGHTS = (0.2, 0.1, 0.25, 0.45)  # of `riddles.TIERS`, among the training pairs
SHOP_SHARE = 0.1  # pairs of the curriculum for every riddle
TITLE_SHARE = 0.5
TITLE_KEEPS = (0.3, 0.6)  # how much of itself a product tells in its title, if it has one
NUM_NEAR_MISSES = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """A pair, and what is known about it by construction."""

    pair: Pair
    product: Product
    """The target; what an image query shows."""

    answer: Answer
    question: Question | None
    """None when the query is an image."""

    clues: tuple[str, ...] = ()
    """The facts that the question takes, where its combination of facts matters."""

    @property
    def summary(self) -> str:
        """What the query asks for, spelled out."""
        return self.product.name if self.question is None else self.question.summary

    def fits(self, product: Product) -> bool:
        """Whether a product answers the query."""
        if self.question is None:
            return product.name == self.product.name
        return self.question.fits(product)


def training_pairs(num_riddles: int, *, seed: int) -> list[Asked]:
    """Return riddles and, for every ten, a pair of the curriculum.

    No riddle has a combination of facts that is held out, no pair a product that is.
    """
    rng = random.Random(f"train/{seed}")
    asked: list[Asked] = []
    while len(asked) < num_riddles:
        product = random_product(rng)
        riddle = riddles.ask(product, rng.choices(riddles.TIERS, TIER_WEIGHTS)[0], rng)
        if not riddle.is_held_out and not product.is_held_out:
            asked.append(paired(f"p{len(asked):05d}", riddle, rng))
    from_shop = curriculum_pairs(round(num_riddles * SHOP_SHARE), seed=seed, step=1)
    return asked + [_of_shop(f"s{number:05d}", one) for number, one in enumerate(from_shop)]


def paired(pair_id: str, riddle: Riddle, rng: random.Random) -> Asked:
    """Return the riddle with the product that it was made from, shown as an item.

    Args:
        pair_id: of the pair; the leaks of the scripted writer tell it as the item's id.
        riddle: any.
        rng: of chance, for title and image.
    """
    question = riddle.question
    product = question.wanted
    title = wording_of(product, rng)
    values = sorted((name, str(getattr(product, name))) for name in question.asked)
    pair = Pair(
        Content(question.text),
        shown(product, title, rng),
        query_key=" ".join(f"{name}={value}" for name, value in values),
        target_key=product.name,
        source="riddles",
        pair_id=pair_id,
    )
    return Asked(pair, product, Answer(pair_id, title, product.brand), question, riddle.clues)


def with_near_misses(asked: Sequence[Asked], *, seed: int) -> list[Pair]:
    """Return the pairs with hard negatives that differ from the target in one asked value.

    They are for the judge alone; nothing is trained on them.
    """
    pairs = []
    for one in asked:
        rng = random.Random(f"misses/{seed}/{one.pair.pair_id}")
        misses: dict[str, Product] = {}
        while len(misses) < NUM_NEAR_MISSES:
            miss = near_miss(one.product, rng)
            if not one.fits(miss):
                misses[miss.name] = miss
        negatives = tuple(
            Negative(shown(miss, wording_of(miss, rng), rng), name) for name, miss in misses.items()
        )
        pairs.append(replace(one.pair, negatives=negatives))
    return pairs


def wording_of(product: Product, rng: random.Random) -> str:
    """Return a title that leaves most of the product to its image."""
    return wording.title(product, rng, keep=rng.choice(TITLE_KEEPS))


def shown(product: Product, title: str, rng: random.Random) -> Content:
    """Return an image, and half the time the title."""
    is_titled = rng.random() < TITLE_SHARE
    text = item_text(title if is_titled else None, None, None)
    return Content(text, png(draw(product, rng)))


def _of_shop(pair_id: str, one: CurriculumPair) -> Asked:
    pair = Pair(
        one.query,
        one.item,
        query_key=one.query_summary,
        target_key=one.product.name,
        source="shop",
        pair_id=pair_id,
    )
    title = next(iter(one.item.text.splitlines()), one.product.name)
    return Asked(pair, one.product, Answer(pair_id, title, one.product.brand), one.question)
