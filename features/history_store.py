"""What every user did, in memory and in step with the lake's events.

A service asks for a history with every request; a scan of the events table takes longer each day.
Here are the newest distinct items of every user, kept up by what changed in the table: appended
events, late ones, and those that somebody dropped or corrected.

Memory is bounded by users and not by events: 3 x `max_items` rows a user, each some 40 bytes and
the item's id.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Protocol

import numpy as np
import polars as pl

from catalog.lake.changes import TableFollower
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS, TIME
from features.histories import HistoryConfig, is_positive
from features.popularity import DailyCounts

COLUMNS = ("event_id", "user_id", "item_id", "action", "value", "ts")

LIKED, ACTED, SHOWN = range(3)
"""What an item was to a user, the strongest first."""

_ORDER = ["user_id", "kind", "ts", "item_id"]
_DESCENDING = [False, False, True, True]
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "user_id": pl.String,
    "kind": pl.UInt8,
    "ts": TIME,
    "item_id": pl.String,
}
_ROWS = pl.Schema(_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class UserHistory:
    """What a user did, each list newest first, an item once in each; ties by item id, descending.

    An item that was liked and shown is in both lists.
    """

    liked: list[str]
    """What `features.histories` gives for a request of now."""

    acted: list[str]
    """Acted upon otherwise: skipped, rated low..."""

    shown: list[str]
    """On a page that the user saw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryStoreConfig:
    """How much is kept."""

    max_items: int = 1_000
    """Distinct items kept of each list of a user, the newest."""

    overlay_rows: int = 50_000
    """Rows of changed users that are held beside the others, or a tenth of those where that is
    more, before both are merged."""

    history: HistoryConfig = field(default_factory=HistoryConfig)
    """Which events are positive."""

    popularity_half_life_days: float = 7.0
    """An event of this age counts half in what is popular."""

    def __post_init__(self) -> None:
        if self.max_items < 1:
            raise ValueError(f"max_items must be >= 1, got {self.max_items}")
        if self.popularity_half_life_days <= 0:
            raise ValueError(
                f"popularity_half_life_days must be > 0, got {self.popularity_half_life_days}"
            )


class Histories(Protocol):
    """Knows what users did, and what is popular."""

    def of(self, user_id: str) -> UserHistory:
        """Return what a user did; empty lists for a stranger."""
        ...

    def popular(self, limit: int) -> pl.DataFrame:
        """Return the items that are liked most now; see `features.popularity.DailyCounts`."""
        ...


class ScannedHistories:
    """Histories for who asks once: the events are read with every question, nothing is kept."""

    def __init__(self, lake: Lake, config: HistoryStoreConfig | None = None) -> None:
        self._lake, self._config = lake, config or HistoryStoreConfig()

    def of(self, user_id: str) -> UserHistory:
        """See `Histories`."""
        events = self._lake.scan(EVENTS).filter(pl.col("user_id") == user_id)
        return _history(_condensed(events, self._config))

    def popular(self, limit: int) -> pl.DataFrame:
        """See `Histories`."""
        now = datetime.now(UTC)
        counts = _no_counts(self._config)
        none = EVENTS.empty().lazy()
        return counts.updated(self._lake.scan(EVENTS), none, now=now).popular(now=now, limit=limit)


@dataclass(frozen=True, slots=True)
class _Users:
    """Rows in `_ORDER`, and where each user's begin."""

    rows: pl.DataFrame
    users: pl.Series
    begin: np.ndarray

    @classmethod
    def of(cls, rows: pl.DataFrame) -> "_Users":
        ends = rows.select(pl.col("user_id").rle()).unnest("user_id")
        begin = np.concatenate([[0], np.cumsum(ends["len"].to_numpy(), dtype=np.int64)])
        return cls(rows, ends["value"], begin)

    def find(self, user_id: str) -> pl.DataFrame | None:
        place = int(self.users.search_sorted(user_id))
        if place == len(self.users) or self.users[place] != user_id:
            return None
        begin, end = self.begin[place : place + 2]
        return self.rows[int(begin) : int(end)]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What one request reads: users as they were, and over them those that changed since."""

    base: _Users
    overlay: _Users
    counts: DailyCounts


class HistoryStore:
    """Histories and popularity in step with the lake; safe to ask while it is refreshed."""

    def __init__(
        self,
        lake: Lake,
        config: HistoryStoreConfig | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Hold nothing until the first `refresh`.

        Args:
            lake: whose events are followed.
            config: how much is kept; the defaults when None.
            now: the present moment, with a time zone.
        """
        self._lake, self._now = lake, now
        self._config = config or HistoryStoreConfig()
        self._follower = TableFollower(lake, EVENTS, COLUMNS)
        self._refreshing = threading.Lock()
        self._snapshot = self._empty()
        self._popular: tuple[DailyCounts, tuple[date, int], pl.DataFrame] | None = None

    def refresh(self) -> bool:
        """Take in what changed in the lake since the last time; return whether anything had.

        The first one reads all events. Who asks meanwhile gets what was known before.
        """
        with self._refreshing:
            changes = self._follower.changes()
            if changes is None:
                return False
            try:
                before = self._empty() if changes.is_anew else self._snapshot
                self._snapshot = self._after(before, changes.added, changes.removed)
            except BaseException:
                self._follower.forget()
                raise
            return True

    def of(self, user_id: str) -> UserHistory:
        """Return what a user did; empty lists for a stranger."""
        snapshot = self._snapshot
        rows = snapshot.overlay.find(user_id)
        if rows is None:
            rows = snapshot.base.find(user_id)
        return _history(pl.DataFrame(schema=_ROWS) if rows is None else rows)

    def popular(self, limit: int) -> pl.DataFrame:
        """Return the items that are liked most now; see `features.popularity.DailyCounts`."""
        counts, now = self._snapshot.counts, self._now()
        held = self._popular
        if held is None or held[0] is not counts or held[1] != (now.date(), limit):
            held = counts, (now.date(), limit), counts.popular(now=now, limit=limit)
            self._popular = held  # it changes with the events and by the day
        return held[2]

    def _empty(self) -> _Snapshot:
        nobody = _Users.of(pl.DataFrame(schema=_ROWS))
        return _Snapshot(nobody, nobody, _no_counts(self._config))

    def _after(self, before: _Snapshot, added: pl.LazyFrame, removed: pl.LazyFrame) -> _Snapshot:
        counts = before.counts.updated(added, removed, now=self._now())
        if before.base.users.is_empty():  # nothing to merge with: all of it streams
            return _Snapshot(_Users.of(_condensed(added, self._config)), before.overlay, counts)
        overlay = self._overlay(before, added, removed)
        if len(overlay.rows) <= max(self._config.overlay_rows, len(before.base.rows) // 10):
            return _Snapshot(before.base, overlay, counts)
        kept = before.base.rows.filter(~pl.col("user_id").is_in(overlay.users.implode()))
        merged = pl.concat([kept, overlay.rows]).sort(_ORDER, descending=_DESCENDING)
        return _Snapshot(_Users.of(merged), _Users.of(pl.DataFrame(schema=_ROWS)), counts)

    def _overlay(self, before: _Snapshot, added: pl.LazyFrame, removed: pl.LazyFrame) -> _Users:
        """Return the users that changed since the base was made, as they are now.

        Of a user who lost an event everything is read again: what it stood in front of was not
        kept.
        """
        losers = removed.select("user_id").unique().collect()["user_id"]
        gained = added.filter(~pl.col("user_id").is_in(losers.implode()))
        gainers = gained.select("user_id").unique().collect()["user_id"]
        is_loser = pl.col("user_id").is_in(losers.implode())
        is_gainer = pl.col("user_id").is_in(gainers.implode())
        in_overlay = pl.col("user_id").is_in(before.overlay.users.implode())
        known = [
            before.overlay.rows.filter(~is_loser),
            before.base.rows.filter(is_gainer & ~in_overlay),
        ]
        again = self._lake.scan(EVENTS).select(COLUMNS).filter(is_loser)
        rows = pl.concat(
            [
                *(part.lazy() for part in known),
                _kinds(gained, self._config),
                *([_kinds(again, self._config)] if len(losers) else []),
            ]
        )
        found = _newest(rows, self._config)
        changed = pl.concat([before.overlay.users, losers, gainers]).unique()
        ghosts = changed.filter(~changed.is_in(found["user_id"].implode()))
        return _Users.of(_with_nothing(found, ghosts))


def _with_nothing(rows: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    """Add users who have nothing left, so that what the base holds of them stays hidden."""
    empty = pl.DataFrame({"user_id": users}).select(
        pl.lit(None, dtype).alias(name) if name != "user_id" else "user_id"
        for name, dtype in _ROWS.items()
    )
    return pl.concat([rows, empty]).sort(_ORDER, descending=_DESCENDING)


def _no_counts(config: HistoryStoreConfig) -> DailyCounts:
    return DailyCounts(half_life_days=config.popularity_half_life_days, config=config.history)


def _condensed(events: pl.LazyFrame, config: HistoryStoreConfig) -> pl.DataFrame:
    return _newest(_kinds(events, config), config)


def _kinds(events: pl.LazyFrame, config: HistoryStoreConfig) -> pl.LazyFrame:
    kind = (
        pl.when(is_positive(config.history))
        .then(LIKED)
        .when(pl.col("action") == "impression")
        .then(SHOWN)
        .otherwise(ACTED)
    )
    return events.select("user_id", kind.cast(pl.UInt8).alias("kind"), "ts", "item_id")


def _newest(rows: pl.LazyFrame, config: HistoryStoreConfig) -> pl.DataFrame:
    """Return the newest distinct items of each user and kind, in `_ORDER`."""
    return (
        rows.drop_nulls("kind")
        .group_by("user_id", "kind", "item_id")
        .agg(pl.col("ts").max())
        .select(_ROWS.names())
        .sort(_ORDER, descending=_DESCENDING)
        .filter(pl.int_range(pl.len()).over("user_id", "kind") < config.max_items)
        .collect(engine="streaming")
    )


def _history(rows: pl.DataFrame) -> UserHistory:
    def of(kind: int) -> list[str]:
        return rows.filter(pl.col("kind") == kind)["item_id"].to_list()

    return UserHistory(liked=of(LIKED), acted=of(ACTED), shown=of(SHOWN))
