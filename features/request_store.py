"""The requests of a log and what happened before them, in files: in memory is what is asked for.

A log of months is larger than memory. Its pages are made some users at a time, for a page is of one
user, and lie in files by time; the features of some days are then made of the requests of those
days, of what was liked or skipped until then, and of sums of the rest. So memory grows with these
and the items of a log, and not with what was shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl

from features.centred_embeddings import history_pairs
from features.context import EarlierCounts
from features.histories import HistoryConfig, histories, is_positive, is_skipped
from features.requests import requests_of

EVENT_COLUMNS = ("user_id", "item_id", "action", "value", "ts")

GROUP_ROWS = 8_192
"""Rows of a file that are read or skipped together: files lie in order of time."""

IN_ORDER = ("ts", "request_id", "user_id", "item_id")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KnownEvents:
    """What requests may know of."""

    events: pl.DataFrame
    """In `EVENT_COLUMNS`: everything liked or skipped before the newest of them, and all events
    between."""

    earlier: EarlierCounts
    """Of the rest."""


class RequestStore:
    """Requests and events by user, in a folder that nobody else writes to."""

    def __init__(self, folder: Path, *, history: HistoryConfig | None = None) -> None:
        """Hold nothing yet.

        Args:
            folder: to write to; it exists.
            history: which events are positive; the defaults when None.
        """
        self._folder = folder
        self._history = history or HistoryConfig()
        self._num_parts = 0

    def add(self, requests: pl.DataFrame, events: pl.DataFrame) -> None:
        """Keep all requests and events of users that were not there yet.

        Args:
            requests: request_id, user_id, item_id, ts, relevance, and position of pages.
            events: at least `EVENT_COLUMNS`.
        """
        known = events.select(EVENT_COLUMNS).sort("ts")
        is_told = is_positive(self._history) | is_skipped(self._history)
        for name, rows in (
            ("requests", requests.sort(IN_ORDER)),
            ("liked", known.filter(is_told)),
            ("others", known.filter(~is_told)),
        ):
            path = self._folder / f"{name}-{self._num_parts:05d}.parquet"
            rows.write_parquet(path, row_group_size=GROUP_ROWS, statistics=True)
        self._num_parts += 1

    def clear(self) -> None:
        """Forget what was added."""
        self._num_parts = 0

    def liked(self) -> pl.DataFrame:
        """Return all events that speak for their item or against it, in `EVENT_COLUMNS`."""
        return self._scan("liked").collect()

    def num_rows(self) -> dict[date, int]:
        """Return how many rows of requests each day (UTC) has, in order of days."""
        days = self._scan("requests").group_by(day=pl.col("ts").dt.date()).agg(rows=pl.len())
        return dict(days.sort("day").collect(engine="streaming").iter_rows())

    def requests_between(self, begin: date, end: date) -> pl.DataFrame:
        """Return the requests from one day to another, with it; in order of time and ids."""
        first, last = _start_of(begin), _start_of(end + timedelta(days=1))
        rows = self._scan("requests").filter(pl.col("ts") >= first, pl.col("ts") < last)
        return rows.collect().sort(IN_ORDER)

    def moments(self) -> pl.Series:
        """Return the time of each request, rising; one of each, whatever its rows."""
        parts = [
            requests_of(pl.read_parquet(path, columns=["request_id", "user_id", "ts"]))["ts"]
            for path in self._paths("requests")
        ]
        return pl.concat(parts).sort()

    def reader(self) -> "EventReader":
        """Open what the requests may know of, for who asks in order of time."""
        return EventReader(self.liked(), self._scan("others"))

    def pairs(self, first: datetime | None, before: datetime | None) -> pl.DataFrame:
        """Return what was liked one after the other, by the histories of requests of a window.

        Args:
            first: the window begins with it; None: with the first request.
            before: it ends before it; None: with the last request.

        Returns:
            As of `features.centred_embeddings.history_pairs`.
        """
        found = [
            history_pairs(histories(requests_of(requests), pl.read_parquet(liked)))
            for requests, liked in self._in_window(first, before)
        ]
        if not found:
            return pl.DataFrame(schema={"left": pl.String, "right": pl.String})
        return pl.concat(found).unique().sort("left", "right")

    def window(
        self, first: datetime | None, before: datetime | None
    ) -> tuple[datetime, datetime] | None:
        """Return the times of the oldest and the newest request of a window; None of none."""
        moments = self.moments()
        if first is not None:
            moments = moments.filter(moments >= first)
        if before is not None:
            moments = moments.filter(moments < before)
        oldest, newest = moments.min(), moments.max()
        if not isinstance(oldest, datetime) or not isinstance(newest, datetime):
            return None
        return oldest, newest

    def _in_window(
        self, first: datetime | None, before: datetime | None
    ) -> Iterator[tuple[pl.DataFrame, Path]]:
        for path, liked in zip(self._paths("requests"), self._paths("liked"), strict=True):
            rows = pl.read_parquet(path, columns=["request_id", "user_id", "ts"]).unique()
            if first is not None:
                rows = rows.filter(pl.col("ts") >= first)
            if before is not None:
                rows = rows.filter(pl.col("ts") < before)
            if len(rows):
                yield rows, liked

    def _paths(self, name: str) -> list[Path]:
        return [self._folder / f"{name}-{n:05d}.parquet" for n in range(self._num_parts)]

    def _scan(self, name: str) -> pl.LazyFrame:
        return pl.scan_parquet(self._paths(name))


class EventReader:
    """Reads what requests may know of, in order of time; what is past is summed up."""

    def __init__(self, liked: pl.DataFrame, others: pl.LazyFrame) -> None:
        """Read no others yet.

        Args:
            liked: all events that speak for their item or against it.
            others: all the others.
        """
        self._liked, self._others = liked, others
        self._until: datetime | None = None
        self._earlier = EarlierCounts.nothing()

    def known_before(self, requests: pl.DataFrame) -> KnownEvents:
        """Return what some requests may know of.

        Args:
            requests: with `ts`; none older than the oldest that was asked about before.

        Raises:
            ValueError: one is older than that.
        """
        oldest, newest = requests["ts"].min(), requests["ts"].max()
        assert isinstance(oldest, datetime)
        assert isinstance(newest, datetime)
        self._sum_up(oldest)
        between = self._others.filter(pl.col("ts") >= oldest, pl.col("ts") < newest).collect()
        liked = self._liked.filter(pl.col("ts") < newest)
        return KnownEvents(events=pl.concat([liked, between]), earlier=self._earlier)

    def _sum_up(self, moment: datetime) -> None:
        """Count what happened since the last time, and before a moment."""
        past = self._others.filter(pl.col("ts") < moment)
        if self._until is not None:
            if moment < self._until:
                raise ValueError(
                    f"requests must be asked about in order of time, got {moment.isoformat()} "
                    f"after {self._until.isoformat()}"
                )
            past = past.filter(pl.col("ts") >= self._until)
        self._until = moment
        shown = past.filter(pl.col("action") == "impression")
        self._earlier = EarlierCounts(
            _grown(self._earlier.shown, shown, "item_id"),
            _grown(self._earlier.by_user, past, "user_id"),
        )


def _grown(sums: pl.DataFrame, events: pl.LazyFrame, by: str) -> pl.DataFrame:
    new = events.group_by(by).agg(earlier=pl.len()).collect(engine="streaming")
    both = pl.concat([sums, new.cast({"earlier": pl.UInt32})])
    return both.group_by(by).agg(pl.col("earlier").sum())


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
