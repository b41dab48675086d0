"""The bazaar's shelves over time: which products are for sale from when to when, and what changes.

Most items are there from the first day, some arrive late (they have no history when they are first
shown: cold start), some change their title or price, some are taken off the shelf.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from catalog.bazaar import wording
from catalog.bazaar.world import Product, near_miss, random_product

OPENING = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday

LATE_SHARE = 0.25
EDITED_SHARE = 0.06
DELETED_SHARE = 0.04
WORDLESS_SHARE = 0.03
IMAGELESS_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Offer:
    """A product on the shelf, as its merchant describes it at one moment."""

    item_id: str
    product: Product
    title: str | None
    text: str | None
    price: float
    has_image: bool
    created_at: datetime
    updated_at: datetime
    deleted: bool = False

    def is_for_sale(self, moment: datetime) -> bool:
        """Whether a shopper could see it at the moment, as far as its arrival goes."""
        return self.created_at <= moment


def offers(num_items: int, *, num_weeks: int, rng: random.Random) -> list[Offer]:
    """Every item as it is first listed, in the order of its id.

    About half of the products differ from another one in a single value, as they do on real
    shelves.
    """
    late_from = OPENING + timedelta(weeks=num_weeks) * 0.4
    late_until = OPENING + timedelta(weeks=num_weeks) * 0.95
    listed: list[Offer] = []
    while len(listed) < num_items:
        is_variant = bool(listed) and rng.random() < 0.5
        product = near_miss(rng.choice(listed).product, rng) if is_variant else random_product(rng)
        arrives = OPENING
        if rng.random() < LATE_SHARE:
            arrives = late_from + (late_until - late_from) * rng.random()
        listed.append(_listing(f"b{len(listed):06d}", product, arrives, rng))
    return listed


def changes(listed: list[Offer], *, num_weeks: int, rng: random.Random) -> Iterator[Offer]:
    """Later records of some items: a new title, a new price, or a deletion, each after arrival."""
    close = OPENING + timedelta(weeks=num_weeks)
    for offer in listed:
        chance = rng.random()
        moment = offer.created_at + (close - offer.created_at) * rng.uniform(0.2, 0.95)
        moment = moment.replace(microsecond=0)
        if chance < DELETED_SHARE:
            yield replace(offer, updated_at=moment, deleted=True)
        elif chance < DELETED_SHARE + EDITED_SHARE / 2:
            title = wording.title(offer.product, rng, keep=0.9)
            yield replace(offer, updated_at=moment, title=title)
        elif chance < DELETED_SHARE + EDITED_SHARE:
            yield replace(offer, updated_at=moment, price=_price(rng))


def _listing(item_id: str, product: Product, arrives: datetime, rng: random.Random) -> Offer:
    arrives = arrives.replace(microsecond=0)
    has_image = rng.random() >= IMAGELESS_SHARE
    has_words = not has_image or rng.random() >= WORDLESS_SHARE
    return Offer(
        item_id=item_id,
        product=product,
        title=wording.title(product, rng) if has_words else None,
        text=wording.description(product, rng) if has_words else None,
        price=_price(rng),
        has_image=has_image,
        created_at=arrives,
        updated_at=arrives,
    )


def _price(rng: random.Random) -> float:
    return round(rng.lognormvariate(3.0, 0.7), 2)
