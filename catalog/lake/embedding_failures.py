"""Dead letters of items that have landed but could not be embedded.

The lake holds the item, so its letter keeps only the item's id as the key and its content hash as
the value. While it stands, that version does not try that content again: what it cannot read today
it cannot read tomorrow. Another content, or another version, is tried at once.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import polars as pl

from catalog.lake.tables import DEAD_LETTERS


def embedding_dead_letters(
    items: pl.DataFrame, reasons: Mapping[str, str], *, model_version: str, failed_at: datetime
) -> pl.DataFrame:
    """Return rows of `dead_letters`, one for every item that has a reason, by item_id.

    Args:
        items: at least item_id and content_hash; one row per item.
        reasons: why an item has no embedding, by item_id.
        model_version: the version that could not embed it.
        failed_at: with a time zone.
    """
    failed = items.filter(pl.col("item_id").is_in(list(reasons))).sort("item_id")
    return pl.DataFrame(
        [
            {
                "topic": f"embed/{model_version}/{item_id}",
                "partition": 0,
                "offset": 0,
                "stage": "embed",
                "reason": reasons[item_id],
                "key": item_id.encode(),
                "value": content_hash.encode(),
                "failed_at": failed_at.astimezone(UTC),
            }
            for item_id, content_hash in failed.select("item_id", "content_hash").iter_rows()
        ],
        schema=DEAD_LETTERS.schema,
    )


def failed_embeddings(letters: pl.LazyFrame, *, model_version: str) -> pl.DataFrame:
    """Return what the version could not embed, in the key columns of `embeddings`.

    Args:
        letters: the `dead_letters` table.
        model_version: id of the version.
    """
    of_version = letters.filter(
        pl.col("stage") == "embed", pl.col("topic").str.starts_with(f"embed/{model_version}/")
    ).select("key", "value")
    # Collected first: keys of other stages may be any bytes, and a cast would stumble over them.
    return of_version.collect().select(
        item_id=pl.col("key").cast(pl.String),
        content_hash=pl.col("value").cast(pl.String),
        model_version=pl.lit(model_version),
    )


def dead_letter_keys(items: pl.DataFrame, *, model_version: str) -> pl.DataFrame:
    """Return the keys that the letters of items have, in the key columns of `dead_letters`.

    Args:
        items: at least item_id.
        model_version: id of the version.
    """
    return items.select(
        topic=f"embed/{model_version}/" + pl.col("item_id"),
        partition=pl.lit(0, pl.Int32),
        offset=pl.lit(0, pl.Int64),
    )
