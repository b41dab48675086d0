"""Which images, clips and sounds items show, and their bytes."""

import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import MEDIA

SINGLE = ("image_hash", "video_hash", "audio_hash")
"""Columns of `items`, of what an item shows one of."""


def shown_hashes(items: pl.LazyFrame) -> pl.LazyFrame:
    """Return each item's `item_id` with the `hash` of everything it shows, a row each.

    Args:
        items: rows of `items`, at least the columns that are keys of `media`.
    """
    single = [items.select("item_id", hash=name) for name in SINGLE]
    gallery = items.select("item_id", hash="gallery_hashes").explode("hash")
    return pl.concat([*single, gallery]).drop_nulls("hash")


def read_media(lake: Lake, items: pl.DataFrame) -> dict[str, bytes]:
    """Return all that items show by its hash; what the lake lost is missing."""
    hashes = shown_hashes(items.lazy()).select(pl.col("hash").unique()).collect()["hash"]
    media = lake.scan(MEDIA).filter(pl.col("hash").is_in(hashes.implode())).collect()
    return dict(zip(media["hash"], media["bytes"], strict=True))
