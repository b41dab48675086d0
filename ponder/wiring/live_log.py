"""What the features of one user's candidates are made from, read for a request of now."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from catalog.lake.item_versions import DESCRIBED
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS, ITEM_VERSIONS, ITEMS, LANDED_AT, TIME
from features.landings import Landings, item_histories
from features.log import Log
from ponder.wiring.counts import DailyCounts
from ponder.wiring.vectors import known_vectors

if TYPE_CHECKING:
    from recall.search import Recall

FORGET_S = 60.0
"""Seconds for which it is remembered what the lake says of an item that the index does not hold."""

REST = 20
"""Times as long as a refresh took until there is another."""

MAX_GONE = 50_000
"""Such items remembered at a time."""


class LiveLog:
    """Reads what a request needs; safe for several threads, and while it is refreshed.

    What described the items is in memory once it was refreshed, and vectors come from the index;
    the events of the user and of the items are read from the lake.
    """

    def __init__(
        self,
        lake: Lake,
        recall: "Recall",
        counts: DailyCounts,
        *,
        landings_from: datetime | None = None,
    ) -> None:
        """Hold nothing yet.

        Args:
            lake: what happened.
            recall: whose index holds the vectors.
            counts: of everybody's likes.
            landings_from: what landed earlier counts as landed then; see `ponder.settings`.
        """
        self._lake, self._recall, self._counts = lake, recall, counts
        self._gone = GoneVectors(lake)
        self._landings_from = landings_from
        self._items: _Items | None = None
        self._versions: list[int | None] = []
        self._rests_until = 0.0

    def refresh(self) -> bool:
        """Read what described the items, where that has changed; return whether it had.

        What was ever said of all items is read again, so after it as much of the time is left to
        others as `REST` says. What is not known yet meanwhile is read when it is asked for.
        """
        started = time.monotonic()
        if started < self._rests_until:
            return False
        versions = [self._lake.version(table) for table in (ITEMS, ITEM_VERSIONS)]
        if versions == self._versions:
            return False
        self._items = _Items.of(self._read_items(pl.lit(True)))
        self._versions = versions
        ended = time.monotonic()
        self._rests_until = ended + REST * (ended - started)
        return True

    def of(self, version: str, user_id: str, item_ids: Sequence[str]) -> Log:
        """Return all that the features of a user's items are made from; see `serving.rank.LogOf`.

        Raises:
            Unavailable, IndexFailed: the index does not answer.
        """
        is_users = pl.col("user_id") == user_id
        events = (
            self._lake.scan(EVENTS).filter(is_users | pl.col("item_id").is_in(item_ids)).collect()
        )
        needed = [*dict.fromkeys([*item_ids, *events.filter(is_users)["item_id"]])]
        return Log(
            events,
            self._described(needed),
            self._vectors(needed, version),
            self._counts.of(datetime.now(UTC)),
        )

    def _described(self, item_ids: list[str]) -> pl.DataFrame:
        items = self._items
        if items is None:
            return self._read_items(pl.col("item_id").is_in(item_ids))
        known = items.find(item_ids)
        missing = set(item_ids) - set(known["item_id"]) - items.unknown
        if not missing:
            return known
        read = self._read_items(pl.col("item_id").is_in(list(missing)))
        if len(items.unknown) < MAX_GONE:
            items.unknown |= missing - set(read["item_id"])
        return pl.concat([known, read])

    def _read_items(self, where: pl.Expr) -> pl.DataFrame:
        landed = pl.col(LANDED_AT)
        if self._landings_from is not None:
            together = pl.max_horizontal(landed, pl.lit(self._landings_from, TIME))
            landed = pl.when(landed.is_not_null()).then(together)
        versions = self._lake.scan(ITEM_VERSIONS).filter(where).with_columns(landed).collect()
        items = self._lake.scan(ITEMS).filter(where).select(DESCRIBED).collect()
        shown = self._lake.scan_landed(EVENTS).filter(pl.col("action") == "impression")
        newest = shown.group_by(landed, "action").agg(pl.col("ts").max())
        return item_histories(versions, items, Landings.of(newest.collect()))

    def _vectors(self, item_ids: list[str], version: str) -> pl.DataFrame:
        with self._recall.in_time():
            held = self._recall.index.vectors(item_ids, version)
        missing = [item_id for item_id in item_ids if item_id not in held]
        if not held:
            return known_vectors(self._lake, version, item_ids=missing)
        matrix = np.stack(list(held.values())).astype(np.float32)
        found = pl.DataFrame(
            {"item_id": list(held), "vector": matrix}, schema_overrides={"item_id": pl.String}
        ).select("item_id", pl.col("vector").arr.to_list(), model_version=pl.lit(version))
        return pl.concat([found, self._gone.find(missing, version)])


class GoneVectors:
    """Vectors of items that the index does not hold, mostly of deleted ones that were liked."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[float, pl.DataFrame]] = OrderedDict()

    def find(self, item_ids: Sequence[str], version: str) -> pl.DataFrame:
        """Return the rows of `known_vectors`, as they were a minute ago at most."""
        now = time.monotonic()
        with self._lock:
            while self._kept and next(iter(self._kept.values()))[0] < now - FORGET_S:
                self._kept.popitem(last=False)
            kept = {
                item_id: self._kept[version, item_id][1]
                for item_id in item_ids
                if (version, item_id) in self._kept
            }
        parts = list(kept.values())
        if asked := [item_id for item_id in item_ids if item_id not in kept]:
            read = known_vectors(self._lake, version, item_ids=asked)
            parts.append(read)
            by_id = read.partition_by("item_id", as_dict=True)
            with self._lock:
                for item_id in asked:
                    self._kept[version, item_id] = now, by_id.get((item_id,), read.clear())
                while len(self._kept) > MAX_GONE:
                    self._kept.popitem(last=False)
        return pl.concat(parts) if parts else _NO_VECTORS


_NO_VECTORS = pl.DataFrame(
    schema={"item_id": pl.String, "vector": pl.List(pl.Float32), "model_version": pl.String}
)


class _Items:
    """States of items in order of their ids, and where each item's begin."""

    def __init__(self, states: pl.DataFrame, ids: pl.Series, begin: np.ndarray) -> None:
        self._states, self._ids, self._begin = states, ids, begin
        self.unknown: set[str] = set()
        """Ids of which the lake said nothing when they were asked for."""

    @classmethod
    def of(cls, states: pl.DataFrame) -> "_Items":
        ends = states.select(pl.col("item_id").rle()).unnest("item_id")
        begin = np.concatenate([[0], np.cumsum(ends["len"].to_numpy(), dtype=np.int64)])
        return cls(states, ends["value"], begin)

    def find(self, item_ids: Sequence[str]) -> pl.DataFrame:
        """Return the states of those items that are there."""
        if not len(self._ids):
            return self._states
        wanted = pl.Series(item_ids, dtype=pl.String)
        places = np.minimum(self._ids.search_sorted(wanted).to_numpy(), len(self._ids) - 1)
        places = places[(self._ids[places] == wanted).to_numpy()]
        rows = [np.arange(self._begin[place], self._begin[place + 1]) for place in places]
        return self._states[np.concatenate(rows)] if rows else self._states.clear()
