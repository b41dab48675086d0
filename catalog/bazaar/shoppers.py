"""Shoppers with tastes, the pages they were shown, and what they did there.

A shopper likes a few nouns, colours and patterns. The chance of a click grows with how many of
these an item has, falls with its position on the page, and is never certain. Nothing in an event
names the taste: whoever wants to predict clicks must see from the items what a shopper's earlier
clicks have in common.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from catalog.bazaar.catalogue import OPENING, Offer
from catalog.bazaar.world import CATEGORIES, CATEGORY_OF, COLOURS, NOUNS, PATTERNS, Product

PAGE_SIZE = 12
PREFERENCE_PAGE_SHARE = 0.35
POPULAR_PAGE_SHARE = 0.3
PURCHASE_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Shopper:
    """One user and what they like; each weight is added to the log-odds of a click."""

    user_id: str
    weights: dict[str, float]

    def affinity(self, product: Product) -> float:
        """How much the product's values please, in log-odds; 0 is indifference."""
        values = (product.noun, product.category, product.colour, product.pattern)
        return sum(self.weights.get(value, 0.0) for value in values)


@dataclass(frozen=True, slots=True)
class Happening:
    """One event, before it is written in a source's format."""

    event_id: str
    request_id: str
    user_id: str
    item_id: str
    action: str
    position: int
    ts: datetime
    value: float | None = None


def shoppers(num_users: int, *, rng: random.Random) -> list[Shopper]:
    """Users in the order of their ids, tastes drawn independently."""
    return [Shopper(f"u{number:05d}", _preferences(rng)) for number in range(num_users)]


def _preferences(rng: random.Random) -> dict[str, float]:
    category = rng.choice(tuple(CATEGORIES))
    weights: dict[str, float] = {category: 0.6}
    weights |= {noun: 1.2 for noun in rng.sample(CATEGORIES[category], 2)}
    weights |= {noun: weights.get(noun, 0.0) + 0.9 for noun in rng.sample(NOUNS, 2)}
    weights |= {colour: 1.1 for colour in rng.sample(tuple(COLOURS), 2)}
    liked, disliked = rng.sample(PATTERNS, 2)
    return weights | {liked: 0.7, disliked: -0.7}


class Market:
    """The offers as pages are drawn from them: by arrival, by popularity, by category."""

    def __init__(self, listed: list[Offer], gone: dict[str, datetime], rng: random.Random) -> None:
        """Keeps the offers by arrival.

        Args:
            listed: every offer, as first listed.
            gone: when an item was taken off the shelf, by item_id.
            rng: draws each item's popularity.
        """
        self._by_arrival = sorted(listed, key=lambda offer: (offer.created_at, offer.item_id))
        self._arrivals = [offer.created_at for offer in self._by_arrival]
        self._gone = gone
        self._popularity = [rng.paretovariate(1.2) for _ in self._by_arrival]

    def page(self, shopper: Shopper, moment: datetime, rng: random.Random) -> list[Offer]:
        """What the shop shows: part by category taste, part by popularity, the rest by chance."""
        available = bisect_right(self._arrivals, moment)
        popular = rng.choices(range(available), self._popularity[:available], k=PAGE_SIZE * 2)
        chosen: dict[str, Offer] = {}
        while len(chosen) < min(PAGE_SIZE, available):
            draw = rng.random()
            if draw < POPULAR_PAGE_SHARE and popular:
                offer = self._by_arrival[popular.pop()]
            else:
                offer = self._by_arrival[rng.randrange(available)]
                if draw < POPULAR_PAGE_SHARE + PREFERENCE_PAGE_SHARE:
                    category = CATEGORY_OF[offer.product.noun]
                    if category not in shopper.weights and rng.random() < 0.8:
                        continue
            if self._gone.get(offer.item_id, moment) >= moment:
                chosen.setdefault(offer.item_id, offer)
        return list(chosen.values())


def visits(
    crowd: list[Shopper],
    market: Market,
    *,
    num_weeks: int,
    requests_per_user: int,
    rng: random.Random,
) -> Iterator[Happening]:
    """Every impression, click and purchase, in the order of time."""
    close = OPENING + timedelta(weeks=num_weeks)
    moments = [
        (OPENING + (close - OPENING) * rng.random(), shopper)
        for shopper in crowd
        for _ in range(max(1, round(rng.gauss(requests_per_user, requests_per_user / 3))))
    ]
    moments.sort(key=lambda visit: (visit[0], visit[1].user_id))
    for number, (moment, shopper) in enumerate(moments):
        page = market.page(shopper, moment.replace(microsecond=0), rng)
        yield from _visit(f"r{number:07d}", shopper, page, moment.replace(microsecond=0), rng)


def click_probability(affinity: float, position: int) -> float:
    """Chance that an item is clicked: a logistic of its affinity, less with every place down."""
    return 1 / (1 + math.exp(-(affinity - 3.0 - 0.08 * position)))


def _visit(
    request_id: str, shopper: Shopper, page: list[Offer], moment: datetime, rng: random.Random
) -> Iterator[Happening]:
    for position, offer in enumerate(page):
        where = (request_id, shopper.user_id, offer.item_id)
        yield Happening(f"{request_id}-{position}-i", *where, "impression", position, moment)
        affinity = shopper.affinity(offer.product)
        if rng.random() >= click_probability(affinity, position):
            continue
        clicked = moment + timedelta(seconds=10 + 8 * position)
        yield Happening(f"{request_id}-{position}-c", *where, "click", position, clicked)
        if rng.random() < PURCHASE_SHARE:
            bought = clicked + timedelta(minutes=2)
            yield Happening(
                f"{request_id}-{position}-p", *where, "purchase", position, bought, offer.price
            )
