"""What the features of one user's candidates are made from, read for a request of now."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from catalog.lake.item_versions import DESCRIBED
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS, ITEM_VERSIONS, ITEMS, LANDED_AT, TIME
from features.activity import ActivityStore, ActivityView
from features.item_states import ItemStates
from features.landings import Landings, item_histories
from features.live import KnownNow, LiveRequest, acts_of, known_now
from features.table import SPARE_ITEMS, FeatureConfig
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

COMPARED = FeatureConfig().history.max_items + SPARE_ITEMS
"""Newest liked items that have a vector, which are compared."""


CodesOf = Callable[[np.ndarray, str, str], np.ndarray]
"""From vectors, their version and the id of codebooks to [V, L] codes."""


class LiveLog:
    """Reads what a request needs; safe for several threads, and while it is refreshed.

    What happened and what described the items is in memory once it was refreshed; before, the lake
    is read with every question. Vectors come from the index.
    """

    def __init__(
        self,
        lake: Lake,
        recall: "Recall",
        counts: DailyCounts,
        *,
        landings_from: datetime | None = None,
        codes_of: CodesOf | None = None,
    ) -> None:
        """Hold nothing yet.

        Args:
            lake: what happened.
            recall: whose index holds the vectors.
            counts: of everybody's likes.
            landings_from: what landed earlier counts as landed then; see `ponder.settings`.
            codes_of: gives vectors of a version the codes of codebooks; None: nobody asks for any.
        """
        self._lake, self._recall, self._counts = lake, recall, counts
        self._gone = GoneVectors(lake)
        self._landings_from, self._codes_of = landings_from, codes_of
        self._activity = ActivityStore(lake)
        self._states: ItemStates | None = None
        self._unknown: set[str] = set()  # of which the lake said nothing when they were asked for
        self._versions: list[int | None] = []
        self._rests_until = 0.0

    def refresh(self) -> bool:
        """Take in what changed in the lake; return whether anything had.

        What was ever said of all items is read again, so after it as much of the time is left to
        others as `REST` says. What is not known yet meanwhile is read when it is asked for.
        """
        has_events = self._activity.refresh()
        return self._refresh_states() or has_events

    def _refresh_states(self) -> bool:
        started = time.monotonic()
        if started < self._rests_until:
            return False
        versions = [self._lake.version(table) for table in (ITEMS, ITEM_VERSIONS)]
        if versions == self._versions:
            return False
        self._states, self._unknown = ItemStates.of(self._read_items(pl.lit(True))), set()
        self._versions = versions
        ended = time.monotonic()
        self._rests_until = ended + REST * (ended - started)
        return True

    def known(self, request: LiveRequest) -> KnownNow:
        """Return what the features of a request's items are made from.

        Raises:
            Unavailable, IndexFailed: the index does not answer.
        """
        activity = self._activity.view() or self._read_activity(request)
        _, own = acts_of(request, activity)
        acted = [
            own.filter(kind)["item_id"].unique(maintain_order=True).to_list()
            for kind in ("is_liked", "is_skipped")
        ]
        vectors = self._vectors(request.item_ids, acted, request.version)
        codes_VL = None
        if request.codes_id and self._codes_of is not None and len(vectors[0]):
            codes_VL = self._codes_of(vectors[1], request.version, request.codes_id)
        return known_now(
            request,
            activity=activity,
            states=self._states_of([*dict.fromkeys([*request.item_ids, *own["item_id"]])]),
            vectors=vectors,
            codes_VL=codes_VL,
            neighbours=self._counts.neighbours(request.now, with_swing=request.with_swing),
        )

    def _read_activity(self, request: LiveRequest) -> ActivityView:
        """Read from the lake what is asked for, where nothing is kept in memory."""
        of_user = pl.col("user_id") == request.user_id
        events = self._lake.scan(EVENTS).filter(
            of_user | pl.col("item_id").is_in(list(request.item_ids))
        )
        return ActivityView.of_events(events.collect(), request.now)

    def _states_of(self, item_ids: list[str]) -> ItemStates:
        states = self._states
        if states is None:
            return ItemStates.of(self._read_items(pl.col("item_id").is_in(item_ids)))
        ids = pl.Series(item_ids, dtype=pl.String)
        missing = set(ids.filter(pl.Series(~states.known(ids)))) - self._unknown
        if not missing:
            return states
        read = self._read_items(pl.col("item_id").is_in(list(missing)))
        if len(self._unknown) < MAX_GONE:
            self._unknown |= missing - set(read["item_id"])
        return replace(states, more=ItemStates.of(read)) if len(read) else states

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

    def _vectors(
        self, item_ids: Sequence[str], acted: Sequence[Sequence[str]], version: str
    ) -> tuple[pl.Series, np.ndarray]:
        """Return ids in order and vectors of the candidates, and of what was acted on until enough.

        Args:
            item_ids: the candidates.
            acted: what was liked, and what was skipped, newest first.
            version: model version.
        """
        newest = [item_id for items in acted for item_id in items[:COMPARED]]
        found = self._found([*dict.fromkeys([*item_ids, *newest])], version)
        for items in acted:
            begin, num_known = COMPARED, sum(item_id in found for item_id in items[:COMPARED])
            while num_known < COMPARED and begin < len(items):
                more = self._found(items[begin : 2 * begin], version)
                found, num_known, begin = found | more, num_known + len(more), 2 * begin
        ids = sorted(found)
        matrix = np.stack([found[each] for each in ids]) if ids else np.zeros((0, 1))
        return pl.Series(ids, dtype=pl.String), matrix.astype(np.float32, copy=False)

    def _found(self, item_ids: Sequence[str], version: str) -> dict[str, np.ndarray]:
        from recall.errors import NotFound

        held: dict[str, np.ndarray] = {}
        with self._recall.in_time(), suppress(NotFound):  # nothing of the version may be indexed
            held = self._recall.index.vectors(item_ids, version)
        missing = [item_id for item_id in item_ids if item_id not in held]
        gone = self._gone.find(missing, version) if missing else _NO_VECTORS
        rows = gone.select("item_id", "vector").iter_rows()
        return held | {item_id: np.array(vector, dtype=np.float32) for item_id, vector in rows}


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
