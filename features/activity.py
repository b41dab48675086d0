"""What users did and what items drew, in memory and in step with the lake's events.

A live request needs counts of its user and of hundreds of items, and all that the user acted on;
a scan of the events table takes longer each day. Here are sums, and of each user the acts: each
some 40 bytes and the item's id. What was only shown is counted and not kept.

Legend: N = items asked for.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import polars as pl

from catalog.lake.changes import TableFollower
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS, TIME
from features.context import ContextConfig, decay, running_sums
from features.histories import HistoryConfig, is_positive, is_skipped, is_strong
from features.sorted_ids import rows_in

COLUMNS = ("event_id", "user_id", "item_id", "action", "value", "ts")

FRESH_ROWS = 50_000
"""Events that came since the rest was summed up, or a tenth of its acts where that is more, before
both are merged."""

_ACTS = pl.Schema(
    [
        ("user_id", pl.String),
        ("ts", TIME),
        ("item_id", pl.String),
        ("is_liked", pl.Boolean),
        ("is_strong", pl.Boolean),
        ("is_skipped", pl.Boolean),
    ]
)
_ITEMS = pl.Schema(
    [
        ("item_id", pl.String),
        ("impressions", pl.UInt32),
        ("positives", pl.UInt32),
        ("popularity", pl.Float64),
        ("popular_at", TIME),
    ]
)
_USERS = pl.Schema([("user_id", pl.String), ("events", pl.UInt32)])


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivityConfig:
    """What is counted; as of a `features.table.FeatureConfig`."""

    history: HistoryConfig = field(default_factory=HistoryConfig)
    context: ContextConfig = field(default_factory=ContextConfig)


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """Sums of some events."""

    items: pl.DataFrame
    """By item_id, rising: impressions, positives, and popularity as it was at `popular_at`, the
    time of the item's newest positive event."""

    users: pl.DataFrame
    """By user_id, rising: events of any kind."""

    acts: pl.DataFrame
    """user_id, ts, item_id, is_liked, is_strong, is_skipped: what is no impression, in order of the
    first three."""

    begin: np.ndarray
    """Where the acts of each of `users` begin, and where those of the last one end."""

    @classmethod
    def of(cls, events: pl.LazyFrame, config: ActivityConfig) -> "Activity":
        """Sum up events; see `COLUMNS`."""
        acts = (
            events.filter(pl.col("action") != "impression")
            .select(
                *("user_id", "ts", "item_id"),
                is_liked=is_positive(config.history),
                is_strong=is_positive(config.history) & is_strong(config.history),
                is_skipped=is_skipped(config.history),
            )
            .sort("user_id", "ts", "item_id")
            .collect(engine="streaming")
        )
        half_life_days = config.context.popularity_half_life_days
        positives = (
            running_sums(acts.filter("is_liked"), half_life_days=half_life_days)
            .group_by("item_id")
            .agg(
                positives=pl.len(),
                popularity=pl.col("sum").last(),
                popular_at=pl.col("ts").last(),
            )
        )
        shown = events.filter(pl.col("action") == "impression").group_by("item_id")
        items = (
            shown.agg(impressions=pl.len())
            .collect(engine="streaming")
            .join(positives, on="item_id", how="full", coalesce=True)
            .with_columns(pl.col("impressions", "positives", "popularity").fill_null(0))
            .sort("item_id")
        )
        users = events.group_by("user_id").agg(events=pl.len()).sort("user_id")
        return cls._with_begins(
            _as(items, _ITEMS), _as(users.collect(engine="streaming"), _USERS), _as(acts, _ACTS)
        )

    @classmethod
    def _with_begins(
        cls, items: pl.DataFrame, users: pl.DataFrame, acts: pl.DataFrame
    ) -> "Activity":
        begin = acts["user_id"].search_sorted(users["user_id"], side="left").to_numpy()
        return cls(items, users, acts, np.append(begin, len(acts)).astype(np.int64))

    def merged(self, other: "Activity", config: ActivityConfig) -> "Activity":
        """Return the sums of both."""
        newest = pl.col("popular_at").max().over("item_id")
        both = pl.concat([self.items, other.items]).with_columns(newest=newest)
        age_us = (both["newest"] - both["popular_at"]).dt.total_microseconds()
        weight_N = decay(
            age_us.fill_null(0).to_numpy(),
            half_life_days=config.context.popularity_half_life_days,
        )
        items = (
            both.with_columns(popularity=both["popularity"] * pl.Series(weight_N))
            .group_by("item_id")
            .agg(
                pl.col("impressions", "positives", "popularity").sum(),
                pl.col("popular_at").max(),
            )
            .sort("item_id")
        )
        users = pl.concat([self.users, other.users]).group_by("user_id").agg(pl.col("events").sum())
        acts = pl.concat([self.acts, other.acts]).sort("user_id", "ts", "item_id")
        return self._with_begins(_as(items, _ITEMS), users.sort("user_id"), acts)

    def of_user(self, user_id: str) -> tuple[int, pl.DataFrame]:
        """Return how many events a user has, and their acts, oldest first."""
        place = int(self.users["user_id"].search_sorted(user_id))
        if place == len(self.users) or self.users["user_id"][place] != user_id:
            return 0, self.acts.clear()
        begin, end = self.begin[place : place + 2]
        return int(self.users["events"][place]), self.acts[int(begin) : int(end)]

    def of_items(
        self, item_ids: pl.Series, now: datetime, config: ActivityConfig
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return impressions, positives and popularity at a moment of each item; 0 of none."""
        if self.items.is_empty():
            nothing = np.zeros(len(item_ids))
            return nothing, nothing, nothing
        place_N = rows_in(self.items["item_id"], item_ids)
        rows, is_there = self.items[np.maximum(place_N, 0)], place_N >= 0
        age_us = (pl.lit(now, TIME) - pl.col("popular_at")).dt.total_microseconds()
        weight = decay(
            rows.select(age_us.fill_null(0)).to_series().to_numpy(),
            half_life_days=config.context.popularity_half_life_days,
        )
        return (
            rows["impressions"].to_numpy() * is_there,
            rows["positives"].to_numpy() * is_there,
            rows["popularity"].to_numpy() * weight * is_there,
        )


def _as(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


@dataclass(frozen=True, slots=True, eq=False)
class ActivityView:
    """What is known of users and items at one moment, in parts that are summed up when asked."""

    parts: Sequence[Activity]
    config: ActivityConfig

    @classmethod
    def of_events(
        cls, events: pl.DataFrame, now: datetime, config: ActivityConfig | None = None
    ) -> "ActivityView":
        """Sum up the events before a moment, for who asks once."""
        config = config or ActivityConfig()
        return cls([Activity.of(events.lazy().filter(pl.col("ts") < now), config)], config)

    def of_user(self, user_id: str) -> tuple[int, pl.DataFrame]:
        """Return how many events a user has, of any kind, and `Activity.acts` of them.

        The acts are newest first; ties by item id, descending, as of `features.histories`.
        """
        found = [part.of_user(user_id) for part in self.parts]
        acts = pl.concat([acts for _, acts in found if len(acts)] or [found[0][1]])
        newest_first = acts.sort("ts", "item_id", "is_strong", descending=True)
        return sum(num for num, _ in found), newest_first

    def of_items(self, item_ids: pl.Series, now: datetime) -> tuple[np.ndarray, ...]:
        """Return [N] impressions, positives and popularity of each item."""
        found = [part.of_items(item_ids, now, self.config) for part in self.parts]
        return tuple(np.sum(each, axis=0) for each in zip(*found, strict=True))


class ActivityStore:
    """Activity in step with the lake; safe to ask while it is refreshed."""

    def __init__(
        self,
        lake: Lake,
        config: ActivityConfig | None = None,
        *,
        fresh_rows: int = FRESH_ROWS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Hold nothing until the first `refresh`.

        Args:
            lake: whose events are followed.
            config: what is counted; the defaults when None.
            fresh_rows: as of `FRESH_ROWS`.
            now: the present moment; events of later ones are counted when it has come.
        """
        self._lake, self._now, self._fresh_rows = lake, now, fresh_rows
        self._config = config or ActivityConfig()
        self._follower = TableFollower(lake, EVENTS, COLUMNS)
        self._refreshing = threading.Lock()
        self._fresh = EVENTS.empty().select(COLUMNS)
        self._view: ActivityView | None = None
        self._counted_until: datetime | None = None

    def view(self) -> ActivityView | None:
        """Return what is known; None before the first refresh."""
        return self._view

    def refresh(self) -> bool:
        """Take in what changed in the lake since the last time; return whether anything had.

        Where events were dropped or corrected, all are read again. Who asks meanwhile gets what was
        known before.
        """
        with self._refreshing:
            changes = self._follower.changes()
            now = self._now()
            if changes is None and not self._has_come(now):
                return False
            try:
                if changes is not None:
                    self._take(changes.added, changes.removed, is_anew=changes.is_anew, now=now)
                self._sum_up(now)
            except BaseException:
                self._follower.forget()
                raise
            return True

    def _has_come(self, now: datetime) -> bool:
        """Return whether events that were to come have."""
        until = self._counted_until
        if until is None:
            return True
        return bool(((self._fresh["ts"] >= until) & (self._fresh["ts"] < now)).any())

    def _take(
        self, added: pl.LazyFrame, removed: pl.LazyFrame, *, is_anew: bool, now: datetime
    ) -> None:
        if not is_anew and removed.limit(1).collect().is_empty():
            self._fresh = pl.concat([self._fresh, added.collect()])
            return
        events = added if is_anew else self._lake.scan(EVENTS).select(COLUMNS)
        base = Activity.of(events.filter(pl.col("ts") < now), self._config)
        self._fresh = events.filter(pl.col("ts") >= now).collect()
        self._view = ActivityView([base], self._config)

    def _sum_up(self, now: datetime) -> None:
        """Count what is fresh, and merge it into the rest where it has become much."""
        assert self._view is not None
        base, due = self._view.parts[0], self._fresh.filter(pl.col("ts") < now)
        parts = [base]
        if len(due):
            parts.append(Activity.of(due.lazy(), self._config))
        if len(due) > max(self._fresh_rows, len(base.acts) // 10):
            parts = [base.merged(parts[1], self._config)]
            self._fresh = self._fresh.filter(pl.col("ts") >= now)
        self._view, self._counted_until = ActivityView(parts, self._config), now
