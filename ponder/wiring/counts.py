"""The co-occurrence counts of the deployment: kept in a file, grown by the events of a day."""

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS
from features.cooccurrence import Cooccurrence, cooccurrence
from features.neighbours import Neighbours

COUNTS = "cooccurrence.npz"
COLUMNS = ("user_id", "item_id", "action", "value", "ts")

logger = logging.getLogger(__name__)


class DailyCounts:
    """Counts of what was liked before today, counted once a day; safe for several threads.

    The first call of a day reads the events since the last one counted, or all where the folder
    holds no counts yet. Events that become known after the day on which they happened are counted
    when the file is made anew: by every export.
    """

    def __init__(self, lake: Lake, folder: Path) -> None:
        """Keep the counts of a lake's events in a folder."""
        self._lake, self._path = lake, folder / COUNTS
        self._lock = threading.Lock()
        self._held: tuple[datetime, Neighbours] | None = None

    def neighbours(self, now: datetime) -> Neighbours:
        """Return the counts of what happened before the day (UTC) of `now`, by item."""
        midnight = _midnight(now)
        with self._lock:
            if self._held is None or self._held[0] != midnight:
                self._held = midnight, Neighbours.of(self._grown(midnight))
            return self._held[1]

    def recount(self) -> None:
        """Count everything anew: what became known late, was corrected or dropped."""
        self._path.unlink(missing_ok=True)
        with self._lock:
            self._held = None
            self._grown(_midnight(datetime.now(UTC)))

    def _grown(self, midnight: datetime) -> Cooccurrence:
        earlier = self._read()
        known = None if earlier is None else earlier.likes["ts"].max()
        fresh = self._lake.scan(EVENTS).filter(pl.col("ts") < midnight).select(COLUMNS)
        if isinstance(known, datetime):
            fresh = fresh.filter(
                pl.col("ts") >= known
            )  # those of that moment count once all the same
        counts = cooccurrence(fresh.collect(), earlier=earlier)
        if counts is not earlier:
            counts.save(self._path)
        return counts

    def _read(self) -> Cooccurrence | None:
        try:
            return Cooccurrence.load(self._path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            logger.warning("%s; counting anew", error)
            return None


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
