"""What was known when: events and items dated to the first request that could tell.

The lake notes when it first had a row (`landed_at`). What landed after a request was in the lake
did not decide it, whatever its own clock says: so it counts from the newest request that was there
before it. A table made in June of what was asked in March is then that of March, and a late event
is no news of the past.

A landing is one moment: in a log that one landing brought, such as an import or a night's, nothing
is late.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from catalog.lake.item_versions import versions_of
from catalog.lake.tables import LANDED_AT, TIME

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Since when an item is what its first record says: nothing says what it was before."""

DAY_SETTLES = timedelta(days=1)
"""So long after a day ended, and after its first pages landed, what is still to come of its pages
is waited for: their answers, and impressions that were sent late. Then they are what they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Landings:
    """When the log's landings were, and how far its requests had come."""

    requests: pl.DataFrame
    """landed_at, rising, and `newest`: the time of the newest request that landed until then. No
    request is newer than its landing, so that a clock that is ahead makes nothing else late."""

    @classmethod
    def of(cls, events: pl.DataFrame | pl.LazyFrame) -> "Landings":
        """Look at the impressions of a log.

        Args:
            events: columns of `catalog.lake.tables.EVENTS`, and `landed_at`; null: always known.
        """
        shown = (
            events.lazy()
            .filter((pl.col("action") == "impression") & pl.col(LANDED_AT).is_not_null())
            .select(LANDED_AT, newest=pl.min_horizontal("ts", LANDED_AT))
        )
        newest = shown.group_by(LANDED_AT).agg(pl.col("newest").max()).sort(LANDED_AT)
        return cls(newest.collect(engine="streaming").with_columns(pl.col("newest").cum_max()))

    def known_from(self, rows: pl.DataFrame, column: str) -> pl.Series:
        """Return from when on each row counts: from its time, or the newest request before it.

        Args:
            rows: with `landed_at` and its time.
            column: of its time.
        """
        asked = rows.select(LANDED_AT, time=column).with_row_index("row").sort(LANDED_AT)
        found = asked.join_asof(
            self.requests, on=LANDED_AT, strategy="backward", allow_exact_matches=False
        ).sort("row")
        return found.select(pl.max_horizontal("time", "newest").alias(column))[column]


def settling(shown: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Return when each day's pages are what they stay: day, settles_at.

    Args:
        shown: impressions, `ts` and `landed_at`; null: at their own time.
    """
    days = shown.lazy().group_by(day=pl.col("ts").dt.date())
    first = days.agg(pl.coalesce(LANDED_AT, "ts").min().alias("first")).collect(engine="streaming")
    ends = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(days=1)
    return first.select("day", settles_at=pl.max_horizontal(ends, "first") + DAY_SETTLES)


def item_histories(versions: pl.DataFrame, items: pl.DataFrame, landings: Landings) -> pl.DataFrame:
    """Return what described each item, and since when.

    A record counts from its own time, or from when it was known. One that is older than another
    that was known before changes nothing. What a deleted item was, it was: its tombstone, which
    describes nothing, is not among its records.

    Args:
        versions: rows of `catalog.lake.tables.ITEM_VERSIONS`.
        items: rows of `ITEMS`: of items that landed before versions were kept, all there is.
        landings: of the log.

    Returns:
        One row for each state of an item, in order of item_id and since:
            item_id, content_hash, category  str
            price       f64, null when the source has none
            created_at  the earliest that was known then
            since       from when on; of the first one `BEGINNING`
            deleted     whether the item is deleted now
    """
    columns = ["item_id", "updated_at", "content_hash", "category", "price", "created_at"]
    present = versions_of(items, BEGINNING).join(versions, on=["item_id", "updated_at"], how="anti")
    records = pl.concat(
        [
            versions.select(*columns, since=landings.known_from(versions, "updated_at")),
            present.select(*columns, since="updated_at"),
        ]
    )
    order = ["item_id", "since", "updated_at", "content_hash"]
    states = (
        records.sort(order)
        .with_columns(pl.col("created_at").cum_min().over("item_id"))
        .filter(pl.col("updated_at") >= pl.col("updated_at").cum_max().over("item_id"))
        .unique(["item_id", "since"], keep="last", maintain_order=True)
    )
    is_first = pl.int_range(pl.len()).over("item_id") == 0
    gone = items.select("item_id", "deleted")
    return (
        states.with_columns(since=pl.when(is_first).then(BEGINNING).otherwise("since").cast(TIME))
        .join(gone, on="item_id", how="left", maintain_order="left")
        .select("item_id", "content_hash", "category", "price", "created_at", "since", "deleted")
    )
