"""The world of the reasoning benchmark: what is learned from, what is asked, and among what."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from catalog.bazaar import riddles
from catalog.bazaar.riddles import Riddle
from catalog.bazaar.world import Product, near_miss, random_product
from embedder.content import Content
from ponder.nano.riddle_pairs import Asked, shown, training_pairs, wording_of


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldSize:
    """How much there is of everything."""

    num_pairs: int = 6_000
    """Riddles to train on; a tenth as many pairs of the shop come besides."""

    num_candidates: int = 2_000
    """Items among which a test question must find its answer."""

    num_questions: int = 300
    """Test questions of each tier, and twice as many composed ones."""

    def __post_init__(self) -> None:
        for name in ("num_pairs", "num_candidates", "num_questions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class World:
    """All that a seed decides about the benchmark."""

    asked: list[Asked]
    """The training pairs; no combination of facts that is held out, and no product that is."""

    products: list[Product]
    """The candidates: random products, each with two near misses; no name twice."""

    items: list[Content]
    """The candidates as they are shown, in the order of `products`."""

    questions: list[Riddle]
    """By tier; the composed ones of held-out combinations of facts only."""


def world(seed: int, size: WorldSize) -> World:
    """Return the world of a seed; worlds of two seeds differ in everything that is drawn."""
    asked = training_pairs(size.num_pairs, seed=seed)
    rng = random.Random(f"test/{seed}")
    products = _candidates(size.num_candidates, rng)
    items = [shown(product, wording_of(product, rng), rng) for product in products]
    questions = [
        riddles.ask_for_test(products, tier, rng)
        for tier, share in riddles.TEST_SHARES.items()
        for _ in range(share * size.num_questions)
    ]
    shared = _combinations(one.clues for one in asked) & _combinations(
        riddle.clues for riddle in questions if riddle.question.tier == "composed"
    )
    assert not shared, f"combinations of facts are both learned and tested: {sorted(shared)[:3]}"
    return World(asked, products, items, questions)


def _candidates(num_candidates: int, rng: random.Random) -> list[Product]:
    products: dict[str, Product] = {}
    while len(products) < num_candidates:
        base = random_product(rng)
        for product in (base, near_miss(base, rng), near_miss(base, rng)):
            products.setdefault(product.name, product)
    return list(products.values())[:num_candidates]


def _combinations(clues: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return the combinations of two or more facts; a single fact is known to everybody."""
    return {tuple(sorted(facts)) for facts in clues if len(facts) > 1}
