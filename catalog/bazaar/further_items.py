"""Items on top of a bazaar, on its shelf since the opening: products that move, and with a jingle.

What they are asked for by, no image shows. Three in four have a title that says it; of the others
only their clip or their sound does.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog.bazaar.catalogue import OPENING
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.jingles import PlayedProduct, played, random_played_product, wav
from catalog.bazaar.motion import MovingProduct, film, gif, random_moving_product


@dataclass(frozen=True, slots=True)
class FurtherItem:
    """A product with a clip or a jingle."""

    item_id: str
    offered: MovingProduct | PlayedProduct
    title: str | None
    media: Mapping[str, str]
    """Fields of its record and the files that they name."""


def write_moving(folder: Path, number: int, *, seed: int) -> list[FurtherItem]:
    """Write clips, and return the items that show them and nothing else."""
    rng = random.Random(f"{seed}/clips")
    made = []
    for place in range(number):
        moving = random_moving_product(rng)
        item_id = f"v{place:06d}"
        media = {"video_uri": f"clips/{item_id}.gif"}
        _write(folder / media["video_uri"], gif(film(moving, rng)))
        made.append(FurtherItem(item_id, moving, moving.name if place % 4 else None, media))
    return made


def write_played(folder: Path, number: int, *, seed: int) -> list[FurtherItem]:
    """Write jingles, and return the items that play them and show an image."""
    rng = random.Random(f"{seed}/jingles")
    made = []
    for place in range(number):
        product = random_played_product(rng)
        item_id = f"j{place:06d}"
        media = {"image_uri": f"images/{item_id}.png", "audio_uri": f"jingles/{item_id}.wav"}
        _write(folder / media["image_uri"], png(draw(product.product, rng)))
        _write(folder / media["audio_uri"], wav(played(product.jingle, rng)))
        made.append(FurtherItem(item_id, product, product.name if place % 4 else None, media))
    return made


def further_record(item: FurtherItem) -> dict[str, Any]:
    """Return an item as a row of `items.jsonl`."""
    return {
        "item_id": item.item_id,
        "title": item.title,
        "category": item.offered.product.category,
        "attributes": {"brand": item.offered.product.brand.lower()},
        **item.media,
        "updated_at": OPENING.isoformat(),
    }


def further_truth(item: FurtherItem) -> dict[str, Any]:
    """Return what is true of an item as a row of `truth.jsonl`."""
    about = {"item_id": item.item_id, **asdict(item.offered.product)}
    if isinstance(item.offered, MovingProduct):
        return about | {"motion": item.offered.motion}
    return about | asdict(item.offered.jingle)


def further_queries(
    items: list[FurtherItem], *, prefix: str, tier: str
) -> Iterable[dict[str, Any]]:
    """Questions for the items without a title, with every item that answers them.

    Args:
        items: all of one kind.
        prefix: of the questions' ids.
        tier: of the questions.
    """
    for item in items:
        if item.title is None:
            yield {
                "query_id": f"{prefix}{item.item_id[1:]}",
                "text": item.offered.name,
                "tier": tier,
                "held_out": False,
                "relevant": [
                    each.item_id for each in items if each.offered.name == item.offered.name
                ],
            }


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
