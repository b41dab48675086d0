"""The co-occurrence counts of the deployment: kept in a file, grown by the events of a day."""

import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from catalog.lake.changes import TableFollower
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS
from features.cooccurrence import Cooccurrence, cooccurrence
from features.histories import HistoryConfig, is_positive
from features.neighbours import Neighbours, NeighboursNow

COUNTS = "cooccurrence.npz"
COLUMNS = ("user_id", "item_id", "action", "value", "ts")
FOLLOWED = ("event_id", *COLUMNS)

REST = 20
"""Times as long as a recount took until there is another."""

logger = logging.getLogger(__name__)


class DailyCounts:
    """Counts of what was liked before today, counted once a day; safe for several threads.

    The first call of a day reads the events since the last one counted, or all where the folder
    holds no counts yet. Events that become known after the day on which they happened are counted
    when the file is made anew: by every export, and by `refresh`.
    """

    def __init__(self, lake: Lake, folder: Path, *, with_swing: bool = False) -> None:
        """Keep the counts of a lake's events in a folder.

        Args:
            lake: what was liked.
            folder: of the file.
            with_swing: whether Swing is counted from the start, and not when it is first asked for.
        """
        self._lake, self._path, self._with_swing = lake, folder / COUNTS, with_swing
        self._lock = threading.Lock()
        self._held: tuple[datetime, Neighbours] | None = None
        self._follower = TableFollower(lake, EVENTS, FOLLOWED)
        self._is_stale = False
        self._rests_until = 0.0

    def neighbours(self, now: datetime, *, with_swing: bool = False) -> Neighbours:
        """Return the counts of what happened before the day (UTC) of `now`, by item.

        Args:
            now: with a time zone.
            with_swing: whether they must tell of Swing; counts that do not are then made anew.
        """
        midnight = _midnight(now)
        with self._lock:
            if with_swing and not self._with_swing:
                self._with_swing, self._held = True, None
            if self._held is None or self._held[0] != midnight:
                self._held = midnight, Neighbours.of(self._grown(midnight, self._read()))
            return self._held[1]

    def now(self) -> NeighboursNow:
        """Return what is liked together with any history, as of the last midnight (UTC)."""
        now = datetime.now(UTC)
        return NeighboursNow.at(self.neighbours(now), now)

    def recount(self) -> None:
        """Count everything anew: what became known late, was corrected or dropped."""
        self._grown(_midnight(datetime.now(UTC)), None)
        with self._lock:
            self._held = None

    def refresh(self) -> bool:
        """Take in the days that ended, and what the lake gained or lost of them since.

        Called again and again it keeps this work out of requests. All is counted anew when an event
        of an earlier day came or went, after which as much of the time is left to others as `REST`
        says. Returns whether the counts changed.
        """
        before = self._held
        if before is None:
            self._follower.changes()  # what is there already is counted below
        elif not self._is_stale and (changes := self._follower.changes()) is not None:
            counted = is_positive(HistoryConfig()) & (pl.col("ts") < before[0])
            touched = pl.concat([changes.added, changes.removed]).filter(counted)
            self._is_stale = changes.is_anew or len(touched.head(1).collect()) > 0
        started = time.monotonic()
        if self._is_stale and started >= self._rests_until:
            self._is_stale = False
            midnight = _midnight(datetime.now(UTC))
            counted_anew = Neighbours.of(self._grown(midnight, None))
            with self._lock:
                self._held = midnight, counted_anew
            ended = time.monotonic()
            self._rests_until = ended + REST * (ended - started)
        self.now()
        return self._held is not before

    def _grown(self, midnight: datetime, earlier: Cooccurrence | None) -> Cooccurrence:
        known = None if earlier is None else earlier.likes["ts"].max()
        counted = is_positive(HistoryConfig()) & (pl.col("ts") < midnight)
        fresh = self._lake.scan(EVENTS).select(COLUMNS).filter(counted)
        if isinstance(known, datetime):
            fresh = fresh.filter(
                pl.col("ts") >= known
            )  # those of that moment count once all the same
        counts = cooccurrence(
            fresh.collect(engine="streaming"), earlier=earlier, with_swing=self._with_swing
        )
        if counts is not earlier:
            counts.save(self._path)
        return counts

    def _read(self) -> Cooccurrence | None:
        try:
            counts = Cooccurrence.load(self._path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            logger.warning("%s; counting anew", error)
            return None
        return None if self._with_swing and counts.swing_P is None else counts


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
