"""Items that the lake knows as deleted are not served, whatever the index says.

A Milvus server may forget deletions for a while: Milvus 2.3.5 showed items in strong reads eleven
seconds after they were deleted, and not in between, just when it had merged segments.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import polars as pl

from catalog.lake.changes import TableFollower
from catalog.lake.lake import Lake
from catalog.lake.living_parts import IdRange
from catalog.lake.tables import ITEMS
from recall.filters import MAX_IDS, Filter
from recall.vector_search import EVERY_ID, NO_FILTER, VectorSearch

MAX_DELETIONS = 100_000  # the newest; a server has settled those of long ago
FOLLOWED = ("item_id", "updated_at", "deleted")


class WithoutDeleted:
    """Searches another index, and finds nothing that the lake says is deleted.

    What is counted and listed is the index's own; see `recall.vector_search.VectorSearch`.
    """

    def __init__(self, index: VectorSearch, lake: Lake) -> None:
        """Know of no deletion until the first `refresh`."""
        self._index = index
        self._follower = TableFollower(lake, ITEMS, FOLLOWED)
        self._changing = threading.Lock()
        self._deleted: dict[str, None] = {}  # the newest last; replaced, never changed

    def kind_of(self, version: str) -> str:
        """Return what is searched of a version."""
        return self._index.kind_of(version)

    @property
    def consistency(self) -> str:
        """How far behind its writers an answer may be."""
        return self._index.consistency

    def request(self) -> AbstractContextManager[None]:
        """Let all that a block asks end in time."""
        return self._index.request()

    def refresh(self) -> bool:
        """Take in the lake's newest deletions, and what the index takes in; tell of any change."""
        with self._changing:
            has_changed = self._follow()
        return self._index.refresh() or has_changed

    def _follow(self) -> bool:
        changes = self._follower.changes()
        if changes is None:
            return False
        try:
            gone = changes.added.filter("deleted").top_k(MAX_DELETIONS, by="updated_at")
            newest = gone.sort("updated_at", "item_id").collect()["item_id"].to_list()
            known: list[str] = []
            if not changes.is_anew:
                touched = set(changes.added.select("item_id").collect()["item_id"])
                known = [item_id for item_id in self._deleted if item_id not in touched]
        except BaseException:
            self._follower.forget()
            raise
        self._remember([*known, *newest])
        return True

    def _remember(self, item_ids: Sequence[str]) -> None:
        self._deleted = dict.fromkeys(item_ids[-MAX_DELETIONS:])

    def put(self, version: str, rows: pl.DataFrame) -> None:
        """Let items be found at once, those too that were deleted before."""
        self._index.put(version, rows)
        with self._changing:
            back = set(rows["item_id"])
            self._remember([item_id for item_id in self._deleted if item_id not in back])

    def discard(self, item_ids: Sequence[str]) -> None:
        """Let items be found no more."""
        with self._changing:
            self._remember([*self._deleted, *item_ids])
        self._index.discard(item_ids)

    def live_version(self) -> str | None:
        """Return the version that queries are answered from."""
        return self._index.live_version()

    def versions(self) -> list[str]:
        """Return the model versions that can be searched."""
        return self._index.versions()

    def count(self, version: str) -> int:
        """Count the items of a version."""
        return self._index.count(version)

    def keys(self, version: str, ids: IdRange = EVERY_ID) -> pl.DataFrame:
        """Return what a version holds of a range of ids."""
        return self._index.keys(version, ids)

    def held(self, version: str, item_ids: pl.Series) -> pl.Series:
        """Return those of the items that a version holds."""
        return self._index.held(version, item_ids)

    def vectors(
        self, item_ids: Sequence[str], version: str, *, filter: Filter = NO_FILTER
    ) -> dict[str, np.ndarray]:
        """Return vectors of items that are not deleted."""
        found = self._index.vectors(item_ids, version, filter=filter)
        gone = self._among(found)
        return {item_id: vector for item_id, vector in found.items() if item_id not in gone}

    def search(
        self,
        query_vectors_QD: np.ndarray,
        version: str,
        *,
        limit: int,
        filter: Filter = NO_FILTER,
    ) -> pl.DataFrame:
        """Find the nearest items that are not deleted; it searches again where some had been."""
        while True:
            found = self._index.search(query_vectors_QD, version, limit=limit, filter=filter)
            gone = self._among(found["item_id"])
            if not gone:
                return found
            if len(filter.exclude_ids) + len(gone) > MAX_IDS:
                return _without(found, gone)
            filter = filter.excluding(sorted(gone))

    def _among(self, item_ids: Iterable[str]) -> set[str]:
        deleted = self._deleted
        return {item_id for item_id in item_ids if item_id in deleted}


def _without(found: pl.DataFrame, gone: set[str]) -> pl.DataFrame:
    rest = found.filter(~pl.col("item_id").is_in(list(gone)))
    rank = pl.col("recall_rank").rank("ordinal").over("query_index").cast(pl.UInt32)
    return rest.with_columns(recall_rank=rank)
