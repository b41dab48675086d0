"""Sources that are a whole catalogue without change times: what differs from the lake is the news.

Such a source says how every item is now but not when it became so. An item that differs from what
is stored was changed at some moment before the landing, so the landing's time dates the change. An
item the snapshot no longer has was deleted; so a lake fed by a snapshot can have no other source of
items.
"""

from collections.abc import Set
from datetime import datetime

import polars as pl

from catalog.ingest.rows import tombstone_row
from catalog.lake.tables import ITEMS

TICK = pl.duration(microseconds=1)

_ADDRESSES = ("image_uri", "gallery_uris", "video_uri", "audio_uri")

STORED_COLUMNS = ("item_id", "updated_at", "deleted", "content_hash", "attributes", *_ADDRESSES)
"""What must be known of the lake's items to compare a snapshot with them."""

_SAME = ("item_id", "content_hash", "attributes", *_ADDRESSES)  # a tombstone's digest is null


class SnapshotRefused(ValueError):
    """A snapshot that would delete what is more likely still there."""


def date_changes(rows: pl.DataFrame, stored: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Date the rows of a snapshot so that exactly the changed ones win over what is stored.

    Args:
        rows: the snapshot's items, each once, in the columns of `items`.
        stored: of `items`, at least `STORED_COLUMNS`.
        now: the time of the landing.

    Returns:
        `rows` with `updated_at` as it came for new items, as it is stored for equal ones, and as
        `now` for changed ones (just after the stored time where that lies in the future).
    """
    times = stored.select("item_id", pl.col("updated_at").alias("_stored"))
    equal = stored.select(*_SAME, pl.lit(True).alias("_equal"))
    stored_at = pl.col("_stored")
    return (
        rows.join(times, on="item_id", how="left", maintain_order="left")
        .join(equal, on=_SAME, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(
            updated_at=pl.when(stored_at.is_null())
            .then("updated_at")
            .when(pl.col("_equal"))
            .then(stored_at)
            .otherwise(pl.max_horizontal(pl.lit(now, ITEMS.schema["updated_at"]), stored_at + TICK))
        )
        .select(ITEMS.schema.names())
    )


def absent_tombstones(
    stored: pl.DataFrame, seen: Set[str | None], *, now: datetime, max_delete_share: float
) -> pl.DataFrame:
    """Return rows of `items` that delete what the lake has and the snapshot has not.

    Args:
        stored: of `items`, at least `STORED_COLUMNS`.
        seen: the ids of all items of the snapshot, of those that could not be landed too; None for
            a record that names no item, and may be any of those that seem to be gone.
        now: the time of the landing.
        max_delete_share: largest share of the living items that may vanish at once, in [0, 1].

    Raises:
        SnapshotRefused: more would vanish, and more likely the snapshot is cut off; or some would,
            and it holds a record that names no item.
    """
    living = stored.filter(~pl.col("deleted"))
    absent = living.filter(
        ~pl.col("item_id").is_in([each for each in seen if each is not None])
    ).sort("item_id")
    if absent.height and None in seen:
        raise SnapshotRefused(
            "a snapshot must name every item it holds, got records that cannot be read (see "
            "dead_letters); the others were landed, nothing was deleted"
        )
    if absent.height > max_delete_share * living.height:
        raise SnapshotRefused(
            f"the snapshot lacks {absent.height} of the lake's {living.height} items, first "
            f"{absent['item_id'][0]!r}, and at most a share of {max_delete_share} may be deleted "
            "at once; none was. If they are really gone, raise max_delete_share"
        )
    rows = [tombstone_row(item_id, updated_at=now) for item_id in absent["item_id"]]
    return date_changes(pl.DataFrame(rows, schema=ITEMS.schema), stored, now=now)
