"""What describes an item, as every record of it said: for who asks how it was at a moment.

`items` holds the newest record alone, and of a deleted item nothing but a tombstone; yet what was
shown to a user last week was shown in its category of last week, at the price of then. No words are
kept here: those of a deleted item are gone.
"""

from datetime import datetime

import polars as pl

from catalog.lake.tables import ITEM_VERSIONS, TIME

DESCRIBED = (
    *("item_id", "updated_at", "content_hash", "category", "attributes", "created_at"),
    "deleted",
)
"""Columns of `items` that `versions_of` reads."""


def versions_of(items: pl.DataFrame, landed_at: datetime) -> pl.DataFrame:
    """Return the rows of `item_versions` that records of items make; tombstones describe nothing.

    Args:
        items: `DESCRIBED`, of `items`; one item may occur many times.
        landed_at: with a time zone.
    """
    return (
        priced(items)
        .filter(~pl.col("deleted"))
        .with_columns(pl.lit(landed_at, TIME).alias("landed_at"))
        .select(ITEM_VERSIONS.schema.names())
    )


def priced(items: pl.DataFrame) -> pl.DataFrame:
    """Add `price`, f64: the attribute of that name; null when it is none or no number."""
    price = pl.col("attributes").str.json_path_match("$.price").cast(pl.Float64, strict=False)
    return items.with_columns(price=pl.when(price.is_finite()).then(price))
