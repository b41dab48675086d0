"""How often items are liked, by day, from which what is popular now is told.

Whole days and whole counts, so that what a correction takes out of the log is taken out of here to
the last one, whatever order the two come in.
"""

from datetime import date, datetime, timedelta

import polars as pl

from features.histories import HistoryConfig, is_positive

HALF_LIVES = 8
"""Days older than so many half-lives do not count: what they hold weighs 1 / 256 at most. Twice as
many are kept, for a correction may take the newest days away."""

_COUNTS = pl.Schema({"item_id": pl.String, "day": pl.Date, "count": pl.Int64})


class DailyCounts:
    """Positive events by item and day; a new one is made of an old one and what changed."""

    def __init__(self, *, half_life_days: float, config: HistoryConfig) -> None:
        """Count nothing yet.

        Args:
            half_life_days: an event of this age counts half, > 0.
            config: which events are positive.
        """
        self._half_life_days, self._config = half_life_days, config
        self._counts = pl.DataFrame(schema=_COUNTS)

    def updated(
        self, added: pl.LazyFrame, removed: pl.LazyFrame, *, now: datetime
    ) -> "DailyCounts":
        """Return the counts after events came and went.

        Args:
            added: rows of `catalog.lake.tables.EVENTS`.
            removed: the same.
            now: with a time zone.
        """
        changed = [self._counts.lazy(), self._signed(added, 1), self._signed(removed, -1)]
        after = DailyCounts(half_life_days=self._half_life_days, config=self._config)
        after._counts = (
            pl.concat(changed)
            .group_by("item_id", "day")
            .agg(pl.col("count").sum())
            .filter(pl.col("count") != 0)
            .collect(engine="streaming")
        )
        oldest = after._today(now) - timedelta(days=2 * HALF_LIVES * self._half_life_days)
        after._counts = after._counts.filter(pl.col("day") >= oldest)
        return after

    def popular(self, *, now: datetime, limit: int) -> pl.DataFrame:
        """Return the items that are liked most, recent days weighing more.

        Where the log ended long ago, days are counted from its last one: a catalogue without recent
        events has its favourites too.

        Args:
            now: with a time zone; days after it do not count yet.
            limit: items at most.

        Returns:
            Best first: item_id str; popularity f64, positive events, each halved for every
            half-life of its age in whole days; equal ones in order of item_id.
        """
        today = self._today(now)
        age = (pl.lit(today) - pl.col("day")).dt.total_days()
        weight = 0.5 ** (age / self._half_life_days)
        return (
            self._counts.filter(age.is_between(0, HALF_LIVES * self._half_life_days))
            .group_by("item_id")
            .agg(popularity=(pl.col("count") * weight).sum())
            .sort("popularity", "item_id", descending=[True, False])
            .head(limit)
        )

    def _today(self, now: datetime) -> date:
        """Return the last day that has events and is not in the future; now's without any."""
        known = self._counts.filter(pl.col("day") <= now.date())["day"].max()
        return known if isinstance(known, date) else now.date()

    def _signed(self, events: pl.LazyFrame, sign: int) -> pl.LazyFrame:
        return (
            events.filter(is_positive(self._config))
            .group_by("item_id", day=pl.col("ts").dt.date())
            .agg(count=sign * pl.len().cast(pl.Int64))
            .select(_COUNTS.names())
        )
