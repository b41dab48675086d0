"""Exact search over the lake's vectors: the embedded default's answers, and the truth for an index.

Nothing but the lake and a folder of files is needed. Each process maps the same files into memory,
so a service answers while a night's index is built, and both see what the lake holds.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.living_parts import IdRange
from catalog.lake.tables import EMBEDDINGS
from recall.blocks import BlockFolder, State
from recall.collection import MAX_LIMIT, collection_name
from recall.errors import NotFound, Unavailable
from recall.filters import Filter
from recall.lake_vectors import LakeVectors
from recall.snapshot import Snapshot
from recall.vector_search import EVERY_ID, NO_FILTER, check_queries

LIVE_MAX_AGE_S = 1.0


class ExactIndex:
    """Searches versions of a lake's vectors; see `recall.vector_search.VectorSearch`.

    A version is read from the lake when it is first asked for, 100,000 vectors in some seconds
    where there are no files of it yet. `refresh` takes in what changed since.
    """

    consistency = "bounded"

    def __init__(self, lake: Lake, folder: Path, live_version: Callable[[], str | None]) -> None:
        """Read nothing yet.

        Args:
            lake: where the vectors come from.
            folder: where they are kept as files; of a version's own in it.
            live_version: the version that is served; None before the first.
        """
        self._lake, self._folder = lake, folder
        self._read_live_version = live_version
        self._live: tuple[float, str | None] | None = None
        self._snapshots: dict[str, Snapshot] = {}
        self._changing = threading.RLock()
        # What a request has seen of each version, so that it sees no other.
        self._seen: ContextVar[dict[str, Snapshot] | None] = ContextVar("_seen", default=None)

    def kind_of(self, version: str) -> str:
        """Return what is searched of a version: the lake's vectors, exactly."""
        return "exact"

    @contextmanager
    def request(self) -> Iterator[None]:
        """Let all that a block asks see one state of each version; of nested blocks the outer's."""
        token = self._seen.set({} if self._seen.get() is None else self._seen.get())
        try:
            yield
        finally:
            self._seen.reset(token)

    def refresh(self) -> bool:
        """Take in what changed in the lake, of the live version and of those asked for so far.

        Requests that are under way keep what they see. Returns whether anything changed.
        """
        live = self._read_live_version()
        self._live = time.monotonic(), live
        changed = [self._refresh(version) for version in list(self._snapshots)]
        if live is not None and live not in self._snapshots and live in self.versions():
            self._first(live)
            changed.append(True)
        return any(changed)

    def put(self, version: str, rows: pl.DataFrame) -> None:
        """Take in what changed in the lake, these rows with it; see `VectorSearch`."""
        self._snapshot(version)
        self._refresh(version, wait=True)

    def discard(self, item_ids: Sequence[str]) -> None:
        """Take in what changed in the lake, these deletions with it; see `VectorSearch`."""
        for version in list(self._snapshots):
            self._refresh(version, wait=True)

    def live_version(self) -> str | None:
        """Return the version that queries are answered from, as it was a second ago at most."""
        if self._live is None or time.monotonic() - self._live[0] > LIVE_MAX_AGE_S:
            self._live = time.monotonic(), self._read_live_version()
        return self._live[1]

    def versions(self) -> list[str]:
        """Return the model versions that have embedded anything, sorted."""
        found = self._lake.scan(EMBEDDINGS).select(pl.col("model_version").unique()).collect()
        return sorted(found["model_version"].to_list())

    def count(self, version: str) -> int:
        """Count the living items of a version."""
        return len(self._snapshot(version))

    def keys(self, version: str, ids: IdRange = EVERY_ID) -> pl.DataFrame:
        """Return what a version holds of a range of ids; see `VectorSearch`."""
        return self._snapshot(version).keys(ids)

    def held(self, version: str, item_ids: pl.Series) -> pl.Series:
        """Return those of the items that a version holds."""
        return self._snapshot(version).held(item_ids)

    def vectors(
        self, item_ids: Sequence[str], version: str, *, filter: Filter = NO_FILTER
    ) -> dict[str, np.ndarray]:
        """Return vectors of items; see `VectorSearch`."""
        return self._snapshot(version).vectors(item_ids, filter)

    def search(
        self,
        query_vectors_QD: np.ndarray,
        version: str,
        *,
        limit: int,
        filter: Filter = NO_FILTER,
    ) -> pl.DataFrame:
        """Find the items nearest to each query; see `VectorSearch`."""
        if not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"limit must be in [1, {MAX_LIMIT}], got {limit}")
        snapshot = self._snapshot(version)
        dim = snapshot.state.dim or query_vectors_QD.shape[-1]
        check_queries(query_vectors_QD, version, dim=dim)
        return snapshot.search(query_vectors_QD, limit=limit, filter=filter)

    def _snapshot(self, version: str) -> Snapshot:
        seen = self._seen.get()
        if seen is not None and version in seen:
            return seen[version]
        snapshot = self._snapshots.get(version) or self._first(version)
        if seen is not None:
            seen[version] = snapshot
        return snapshot

    def _first(self, version: str) -> Snapshot:
        with self._changing:
            if version not in self._snapshots:
                if version not in (known := self.versions()):
                    raise NotFound(
                        f"version {version!r} has embedded nothing; the lake holds {known}"
                    )
                self._refresh(version, wait=True)
            return self._snapshots[version]

    def _refresh(self, version: str, *, wait: bool = False) -> bool:
        folder = BlockFolder(self._folder / collection_name("vectors", version))
        with self._changing:
            try:
                LakeVectors(self._lake, folder, version).refresh(wait=wait)
            except ValueError as error:
                raise Unavailable(
                    f"the vectors of version {version!r} cannot be searched: {error}"
                ) from error
            before = self._snapshots.get(version)
            if before is not None and _same(before.state, folder.state()):
                return False
            self._snapshots[version] = Snapshot(folder.open())
            return True


def _same(one: State, other: State) -> bool:
    return (one.blocks, one.dead) == (other.blocks, other.dead)
