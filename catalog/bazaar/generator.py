"""Writes a bazaar to a folder in the documented JSON Lines layout, so that it can be landed.

    items.jsonl      every listing, then every later change, with images in images/
    events.jsonl     impressions, clicks and purchases in the order of time
    queries.jsonl    shoppers' questions and riddles, with the items that answer them
                     (with `num_clips` also for products that move, by clips/*.gif, and with
                     `num_jingles` for products by their tune, jingles/*.wav)
    truth.jsonl      the product behind each item: what tests may know and models may not
    tastes.jsonl     what each shopper likes, likewise

The same arguments give the same bytes.
"""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from catalog.bazaar import riddles, shoppers
from catalog.bazaar.catalogue import Offer, changes, offers
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.further_items import (
    further_queries,
    further_record,
    further_truth,
    write_moving,
    write_played,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BazaarConfig:
    """How large a bazaar is."""

    num_items: int = 2_000
    """Items ever listed; a quarter of them arrives late."""

    num_users: int = 300
    """Shoppers, each with a taste."""

    num_weeks: int = 4
    """How long the shop is open."""

    requests_per_user: int = 12
    """Mean number of pages a shopper opens."""

    num_queries: int = 300
    """Evaluation questions, of each tier as many as `riddles.TEST_SHARES` says."""

    num_clips: int = 0
    """Further items that show a clip and no image; one in four has no title, and is asked for by
    what it does. All else stays as it is without them."""

    num_jingles: int = 0
    """Further items that show an image and play a jingle; one in four has no title, and is asked
    for by its tune. All else stays as it is without them."""

    seed: int = 7
    """Decides everything."""

    def __post_init__(self) -> None:
        for name in ("num_items", "num_users", "num_weeks", "requests_per_user"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("num_queries", "num_clips", "num_jingles"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


def write_bazaar(folder: Path, config: BazaarConfig) -> dict[str, int]:
    """Writes the bazaar's files and returns how many records each holds."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = random.Random(config.seed)
    listed = offers(config.num_items, num_weeks=config.num_weeks, rng=rng)
    changed = sorted(
        changes(listed, num_weeks=config.num_weeks, rng=rng),
        key=lambda offer: (offer.updated_at, offer.item_id),
    )
    gone = {offer.item_id: offer.updated_at for offer in changed if offer.deleted}
    for offer in listed:
        if offer.has_image:
            (folder / _image_path(offer)).write_bytes(png(draw(offer.product, rng)))
    crowd = shoppers.shoppers(config.num_users, rng=rng)
    market = shoppers.Market(listed, gone, rng)
    happenings = shoppers.visits(
        crowd,
        market,
        num_weeks=config.num_weeks,
        requests_per_user=config.requests_per_user,
        rng=rng,
    )
    living = [offer for offer in listed if offer.item_id not in gone]
    moving = write_moving(folder, config.num_clips, seed=config.seed)
    playing = write_played(folder, config.num_jingles, seed=config.seed)
    items = [*map(item_record, [*listed, *changed]), *map(further_record, [*moving, *playing])]
    truth = [*map(_truth_record, listed), *map(further_truth, [*moving, *playing])]
    queries = chain(
        query_records(living, config.num_queries, rng),
        further_queries(moving, prefix="m", tier="motion"),
        further_queries(playing, prefix="t", tier="tune"),
    )
    return {
        "items": _write(folder / "items.jsonl", items),
        # Visits are drawn while they are written, and the questions after them.
        "events": _write(folder / "events.jsonl", map(_event_record, happenings)),
        "queries": _write(folder / "queries.jsonl", queries),
        "truth": _write(folder / "truth.jsonl", truth),
        "tastes": _write(folder / "tastes.jsonl", map(asdict, crowd)),
    }


def item_record(offer: Offer) -> dict[str, Any]:
    """The offer as a row of `items.jsonl`; what it shows, no field says outright."""
    if offer.deleted:
        return {
            "item_id": offer.item_id,
            "updated_at": offer.updated_at.isoformat(),
            "deleted": True,
        }
    return {
        "item_id": offer.item_id,
        "title": offer.title,
        "text": offer.text,
        "category": offer.product.category,
        "attributes": {"price": offer.price, "brand": offer.product.brand.lower()},
        "image_uri": _image_path(offer) if offer.has_image else None,
        "created_at": offer.created_at.isoformat(),
        "updated_at": offer.updated_at.isoformat(),
    }


def query_records(
    living: list[Offer], num_queries: int, rng: random.Random
) -> Iterable[dict[str, Any]]:
    """Questions made from random items on the shelf, with every item that answers them.

    Half of the questions are about products that nano never saw in training, which `held_out`
    marks; of the composed ones nano never saw the combination of facts.
    """
    products = [offer.product for offer in living]
    pools = [
        [product for product in products if product.is_held_out is held_out]
        for held_out in (True, False)
    ]
    tiers = [tier for tier, share in riddles.TEST_SHARES.items() for _ in range(share)]
    for number in range(num_queries):
        pool = pools[number % 2] or products
        tier = tiers[number % len(tiers)]
        question = riddles.ask_for_test(pool, tier, rng).question
        yield {
            "query_id": f"q{number:04d}",
            "text": question.text,
            "tier": tier,
            "held_out": question.wanted.is_held_out,
            "relevant": [living[i].item_id for i in question.answers(products)],
        }


def _image_path(offer: Offer) -> str:
    return f"images/{offer.item_id}.png"


def _event_record(happening: shoppers.Happening) -> dict[str, Any]:
    return {name: value for name, value in asdict(happening).items() if value is not None}


def _truth_record(offer: Offer) -> dict[str, Any]:
    return {"item_id": offer.item_id, **asdict(offer.product)}


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with path.open("w") as file:
        for record in records:
            file.write(json.dumps(record, default=_isoformat) + "\n")
            count += 1
    return count


def _isoformat(value: datetime) -> str:
    return value.isoformat()
