"""Which rows of a batch change `items` or `events`, whatever order the batches come in.

Delivery is at least once and out of order, so the outcome may not depend on either. The rows of one
item are reduced with two maxima that commute: the newest row in `ORDER` gives the content, the
earliest `created_at` is kept. An edit whose source does not repeat `created_at` thus leaves the
item as old as it is. Of one event the newest row in `EVENT_ORDER` is kept.
"""

from dataclasses import dataclass

import polars as pl

ORDER = (
    *("updated_at", "deleted", "content_hash", "attributes"),
    *("image_uri", "gallery_uris", "video_uri", "audio_uri"),
)
"""Newest last. At one instant a tombstone beats content, and the larger digest another content."""

EVENT_ORDER = ("ts", "action", "user_id", "item_id", "request_id", "value", "position")
"""Newest last. An id that comes with two contents is a sender's fault; which one stays is settled
all the same, by the later time and then by the larger content."""

_SAME = ("item_id", *ORDER, "created_at")
"""Two rows equal in these are equal in all: `content_hash` digests the other columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpsertCounts:
    """What became of the items or events of a batch; each counts once, however often it came."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    """Tombstones written, those of items never seen included."""

    unchanged: int = 0
    """Stored already exactly so."""

    stale: int = 0
    """Older than what is stored; one that only shows that the item is older counts as updated."""

    def __add__(self, other: "UpsertCounts") -> "UpsertCounts":
        return UpsertCounts(
            inserted=self.inserted + other.inserted,
            updated=self.updated + other.updated,
            deleted=self.deleted + other.deleted,
            unchanged=self.unchanged + other.unchanged,
            stale=self.stale + other.stale,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Upsert:
    """The rows to write, and what they mean."""

    rows: pl.DataFrame
    """One row for each item or event that changes, in the columns of its table."""

    replaces: bool
    """True when one of the rows stands in for a stored one; False when all are new."""

    counts: UpsertCounts


def plan_upsert(rows: pl.DataFrame, stored: pl.DataFrame) -> Upsert:
    """Plan the rows to write so that the newest record of every item is the stored one.

    Args:
        rows: the batch, in the columns of `items`; one item may occur many times.
        stored: the rows of `items` that have an item_id of the batch.
    """
    newest = _newest(rows)
    if stored.is_empty():
        return _all_new(newest)
    written = _newest(pl.concat([stored, rows])).join(
        stored, on=_SAME, how="anti", nulls_equal=True
    )
    known = written.join(stored, on="item_id", how="semi")
    unchanged = newest.join(stored, on=("item_id", *ORDER), how="semi", nulls_equal=True).join(
        written, on="item_id", how="anti"
    )
    deleted = int(written["deleted"].sum())
    updated = known.height - int(known["deleted"].sum())
    counts = UpsertCounts(
        inserted=written.height - deleted - updated,
        updated=updated,
        deleted=deleted,
        unchanged=unchanged.height,
        stale=newest.height - written.height - unchanged.height,
    )
    return Upsert(rows=written.sort("item_id"), replaces=not known.is_empty(), counts=counts)


def plan_events(rows: pl.DataFrame, stored: pl.DataFrame) -> Upsert:
    """Plan the rows to write so that the newest form of every event is the stored one.

    Args:
        rows: the batch, in the columns of `events`; one event may occur many times.
        stored: the rows of `events` that have an event_id of the batch.
    """
    newest = _newest_events(rows)
    if stored.is_empty():
        return Upsert(rows=newest, replaces=False, counts=UpsertCounts(inserted=newest.height))
    written = _newest_events(pl.concat([stored, newest])).join(
        stored, on=stored.columns, how="anti", nulls_equal=True
    )
    updated = written.join(stored, on="event_id", how="semi").height
    unchanged = newest.join(stored, on=stored.columns, how="semi", nulls_equal=True).height
    counts = UpsertCounts(
        inserted=written.height - updated,
        updated=updated,
        unchanged=unchanged,
        stale=newest.height - written.height - unchanged,
    )
    return Upsert(rows=written, replaces=updated > 0, counts=counts)


def _newest_events(rows: pl.DataFrame) -> pl.DataFrame:
    if rows["event_id"].is_unique().all():
        return rows
    return rows.sort(EVENT_ORDER).unique("event_id", keep="last", maintain_order=True)


def _all_new(newest: pl.DataFrame) -> Upsert:
    deleted = int(newest["deleted"].sum())
    counts = UpsertCounts(inserted=newest.height - deleted, deleted=deleted)
    return Upsert(rows=newest.sort("item_id"), replaces=False, counts=counts)


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    if rows["item_id"].is_unique().all():
        return rows
    # Sorted are the few columns that decide, and not the texts that follow them.
    index = (
        rows.lazy()
        .select(*_SAME)
        .with_row_index("row")
        .sort(ORDER, maintain_order=True)
        .with_columns(pl.col("created_at").min().over("item_id"))
        .unique("item_id", keep="last", maintain_order=True)
        .select("row", "created_at")
        .collect()
    )
    return rows[index["row"]].with_columns(index["created_at"])
