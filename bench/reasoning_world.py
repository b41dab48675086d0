"""The world of the reasoning benchmark: what is learned from, what is asked, and among what.

Its difficulty was fixed by the direct variant alone (docs/reasoning.md) and stays as it is.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from catalog.bazaar import riddles, wording
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.questions import TIERS, Tier
from catalog.bazaar.rationales import Answer
from catalog.bazaar.riddles import Riddle
from catalog.bazaar.world import Product, near_miss, random_product
from embedder.content import Content
from embedder.finetune.data.pairs import Negative, Pair
from embedder.prompting.template import item_text

TIER_WEIGHTS = (0.2, 0.3, 0.5)  # literal, indirect, composed, among the training pairs
TITLE_SHARE = 0.5
TITLE_KEEPS = (0.3, 0.6)  # how much of itself a product tells in its title, if it has one
NUM_NEAR_MISSES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldSize:
    """How much there is of everything."""

    num_pairs: int = 6_000
    """Training pairs."""

    num_candidates: int = 2_000
    """Items among which a test question must find its answer."""

    num_questions: int = 400
    """Test questions of each tier."""

    def __post_init__(self) -> None:
        for name in ("num_pairs", "num_candidates", "num_questions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A riddle of the training with the item that it is paired with."""

    riddle: Riddle
    answer: Answer
    pair: Pair


@dataclass(frozen=True, slots=True)
class World:
    """All that a seed decides about the benchmark."""

    asked: list[Asked]
    """No riddle whose combination of facts is held out, and no product that is."""

    products: list[Product]
    """The candidates: random products, each with two near misses; no name twice."""

    items: list[Content]
    """The candidates as they are shown, in the order of `products`."""

    questions: list[Riddle]
    """As many of each tier; the composed ones of held-out combinations of facts only."""


def world(seed: int, size: WorldSize) -> World:
    """Return the world of a seed; worlds of two seeds differ in everything that is drawn."""
    rng = random.Random(f"train/{seed}")
    asked: list[Asked] = []
    while len(asked) < size.num_pairs:
        product = random_product(rng)
        riddle = riddles.ask(product, rng.choices(TIERS, TIER_WEIGHTS)[0], rng)
        if not riddle.is_held_out and not product.is_held_out:
            asked.append(paired(f"p{len(asked):05d}", riddle, rng))
    rng = random.Random(f"test/{seed}")
    products = _candidates(size.num_candidates, rng)
    items = [_shown(product, wording_of(product, rng), rng) for product in products]
    questions = [
        _question(tier, products, rng) for tier in TIERS for _ in range(size.num_questions)
    ]
    shared = _combinations([one.riddle for one in asked]) & _combinations(
        [riddle for riddle in questions if riddle.question.tier == "composed"]
    )
    assert not shared, f"combinations of facts are both learned and tested: {sorted(shared)[:3]}"
    return World(asked, products, items, questions)


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
        _shown(product, title, rng),
        query_key=" ".join(f"{name}={value}" for name, value in values),
        target_key=product.name,
        pair_id=pair_id,
    )
    return Asked(riddle, Answer(pair_id, title, product.brand), pair)


def with_near_misses(asked: Sequence[Asked], *, seed: int) -> list[Pair]:
    """Return the pairs with hard negatives that differ from the target in one asked value.

    They are for the judge alone; no variant is trained on them.
    """
    pairs = []
    for one in asked:
        rng = random.Random(f"misses/{seed}/{one.pair.pair_id}")
        misses: dict[str, Product] = {}
        while len(misses) < NUM_NEAR_MISSES:
            miss = near_miss(one.riddle.question.wanted, rng)
            if not one.riddle.question.fits(miss):
                misses[miss.name] = miss
        negatives = tuple(
            Negative(_shown(miss, wording_of(miss, rng), rng), name)
            for name, miss in misses.items()
        )
        pairs.append(replace(one.pair, negatives=negatives))
    return pairs


def wording_of(product: Product, rng: random.Random) -> str:
    """Return a title that leaves most of the product to its image."""
    return wording.title(product, rng, keep=rng.choice(TITLE_KEEPS))


def _shown(product: Product, title: str, rng: random.Random) -> Content:
    """Return an image, and half the time the title."""
    is_titled = rng.random() < TITLE_SHARE
    text = item_text(title if is_titled else None, None, None)
    return Content(text, png(draw(product, rng)))


def _candidates(num_candidates: int, rng: random.Random) -> list[Product]:
    products: dict[str, Product] = {}
    while len(products) < num_candidates:
        base = random_product(rng)
        for product in (base, near_miss(base, rng), near_miss(base, rng)):
            products.setdefault(product.name, product)
    return list(products.values())[:num_candidates]


def _question(tier: Tier, products: list[Product], rng: random.Random) -> Riddle:
    while True:
        riddle = riddles.ask(rng.choice(products), tier, rng)
        if tier != "composed" or riddle.is_held_out:
            return riddle


def _combinations(asked: list[Riddle]) -> set[tuple[str, ...]]:
    """Return the combinations of two or more facts; a single fact is known to everybody."""
    return {tuple(sorted(riddle.clues)) for riddle in asked if len(riddle.clues) > 1}
