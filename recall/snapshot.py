"""One state of a version's vectors, searched exactly.

Vectors are compared in float32, a block of rows at a time, and of each block only what may still be
among the best is looked at again. Those few are scored in float64, so that a score depends neither
on what it was computed beside nor on how the work was cut.

Shape legend: Q = queries, N = rows of all blocks, C = rows of a chunk, D = embedding dimension.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl

from catalog.lake.living_parts import IdRange
from evaluation.exact_ranking import SCORE_DECIMALS
from recall.block_filter import matching
from recall.blocks import OpenState
from recall.filters import Filter
from recall.vector_search import KEYS, RANKED

CHUNK_SCORES = 2**19  # scores of a chunk, Q x C: 2 MB, which a core's cache holds
MIN_CHUNK, MAX_CHUNK = 4_096, 65_536
FEW = 0.1  # of the rows: so few are gathered instead of masked
MARGIN = 4e-6  # what rounding to 6 decimals and float32 sums may move a score, together


class Snapshot:
    """Vectors and columns as they were at one moment; nothing in it changes."""

    def __init__(self, opened: OpenState) -> None:
        """Take an open state."""
        self.state = opened.state
        self._blocks = opened.blocks
        self._is_live_N = opened.is_live_N
        self._starts = np.cumsum([0, *(len(block.rows) for block in opened.blocks)])
        ids = [block.rows["item_id"] for block in opened.blocks]
        self._ids = pl.concat(ids).rechunk() if ids else pl.Series([], dtype=pl.String)
        live = np.flatnonzero(self._is_live_N)
        living = self._ids.gather(live)
        by_id = living.arg_sort()
        self._sorted_ids, self._sorted_rows = living.gather(by_id), live[by_id.to_numpy()]

    def __len__(self) -> int:
        return len(self._sorted_rows)

    @cached_property
    def _place_N(self) -> np.ndarray:
        """Where a row stands among the ids in order; what breaks ties."""
        place_N = np.zeros(len(self._ids), dtype=np.int64)
        place_N[self._sorted_rows] = np.arange(len(self._sorted_rows))
        return place_N

    def keys(self, ids: IdRange) -> pl.DataFrame:
        """Return item_id, content_hash and row_hash of a range of ids, in order of item_id."""
        end = len(self) if ids.end is None else self._sorted_ids.search_sorted(ids.end)
        rows = self._sorted_rows[self._sorted_ids.search_sorted(ids.begin) : end]
        frames = [block.rows.select(KEYS.names()) for block in self._blocks]
        return pl.concat([KEYS.to_frame(), *frames])[rows]

    def vectors(self, item_ids: Sequence[str], filter: Filter) -> dict[str, np.ndarray]:
        """Return the unit vectors of those items that are there and match."""
        rows = self._rows_of(item_ids)
        rows = rows[self._allowed_N(filter)[rows]]
        return dict(zip(self._ids.gather(rows).to_list(), self._gathered(rows), strict=True))

    def search(self, query_vectors_QD: np.ndarray, *, limit: int, filter: Filter) -> pl.DataFrame:
        """Return the best items of each query; see `recall.vector_search.VectorSearch`."""
        if not self._blocks:
            return RANKED.to_frame()
        wide_QD = query_vectors_QD.astype(np.float64)
        wide_QD = wide_QD / np.linalg.norm(wide_QD, axis=1, keepdims=True)
        allowed_N = self._allowed_N(filter)
        pools = self._pools(wide_QD.astype(np.float32), allowed_N, limit=limit)
        frames = [
            self._ranked(q, query_D, pool, limit=limit)
            for q, (query_D, pool) in enumerate(zip(wide_QD, pools, strict=True))
        ]
        return pl.concat([RANKED.to_frame(), *frames])

    def _pools(
        self, query_vectors_QD: np.ndarray, allowed_N: np.ndarray, *, limit: int
    ) -> list[np.ndarray]:
        """Return for each query the rows that may be among its best."""
        tops = [_Top(limit) for _ in query_vectors_QD]
        allowed = np.flatnonzero(allowed_N)
        if len(allowed) <= limit:
            return [allowed] * len(tops)
        if len(allowed) <= FEW * len(allowed_N):
            score_QC = query_vectors_QD @ self._gathered(allowed).T
            for top, score_C in zip(tops, score_QC, strict=True):
                top.take(score_C, 0)
            return [allowed[top.rows()] for top in tops]
        chunk = int(np.clip(CHUNK_SCORES // len(query_vectors_QD), MIN_CHUNK, MAX_CHUNK))
        for start, vectors_CD in self._chunks(chunk):
            score_QC = query_vectors_QD @ vectors_CD.T
            allowed_C = allowed_N[start : start + len(vectors_CD)]
            if not allowed_C.all():
                score_QC[:, ~allowed_C] = -np.inf
            for top, score_C in zip(tops, score_QC, strict=True):
                top.take(score_C, start)
        return [top.rows() for top in tops]

    def _chunks(self, num_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        for block, start in zip(self._blocks, self._starts, strict=False):
            for begin in range(0, len(block.rows), num_rows):
                yield int(start) + begin, block.vectors_ND[begin : begin + num_rows]

    def _ranked(self, q: int, query_D: np.ndarray, pool: np.ndarray, *, limit: int) -> pl.DataFrame:
        # A row's sum is its own: a product of matrices might add in an order that depends on N.
        score = np.einsum("nd,d->n", self._gathered(pool), query_D)
        score = np.round(score, SCORE_DECIMALS)
        best = np.lexsort((self._place_N[pool], -score))[:limit]
        return pl.DataFrame(
            {
                "query_index": np.full(len(best), q, dtype=np.uint32),
                "item_id": self._ids.gather(pool[best]),
                "recall_score": score[best].astype(np.float32),
                "recall_rank": np.arange(1, len(best) + 1, dtype=np.uint32),
            },
            schema=RANKED,
        )

    def _gathered(self, rows: np.ndarray) -> np.ndarray:
        gathered = np.empty((len(rows), self.state.dim), dtype=np.float32)
        block_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(block_of):
            here = block_of == number
            gathered[here] = self._blocks[number].vectors_ND[rows[here] - self._starts[number]]
        return gathered

    def _allowed_N(self, filter: Filter) -> np.ndarray:
        """Return which rows count and match."""
        allowed_N = self._is_live_N
        if filter.asks_columns:
            allowed_N = allowed_N & np.concatenate(
                [np.empty(0, dtype=bool), *(matching(block, filter) for block in self._blocks)]
            )
        if filter.include_ids is not None:
            included_N = np.zeros_like(allowed_N)
            included_N[self._rows_of(filter.include_ids)] = True
            allowed_N = allowed_N & included_N
        if filter.exclude_ids:
            allowed_N = allowed_N.copy()
            allowed_N[self._rows_of(filter.exclude_ids)] = False
        return allowed_N

    def _rows_of(self, item_ids: Sequence[str]) -> np.ndarray:
        """Return the rows of those items that are there, each once."""
        wanted = pl.Series(item_ids, dtype=pl.String).unique(maintain_order=True)
        if not len(self) or not len(wanted):
            return np.empty(0, dtype=np.int64)
        places = self._sorted_ids.search_sorted(wanted, side="left").to_numpy()
        places = np.minimum(places, len(self) - 1)
        is_there = (self._sorted_ids.gather(places) == wanted).to_numpy()
        return self._sorted_rows[places[is_there]]


class _Top:
    """The rows that may be among the best of one query, while chunks of scores come by."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._least = np.float32(-np.inf)  # below it a row has no chance any more
        self._rows: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._num = 0

    def take(self, score_C: np.ndarray, start: int) -> None:
        rows = np.flatnonzero(score_C > self._least)
        if not len(rows):
            return
        self._rows.append(rows + start)
        self._scores.append(score_C[rows])
        self._num += len(rows)
        if self._num > 2 * self._limit:
            self._shrink()

    def _shrink(self) -> None:
        score, row = np.concatenate(self._scores), np.concatenate(self._rows)
        edge = np.partition(score, len(score) - self._limit)[len(score) - self._limit]
        if edge > -np.inf:
            self._least = np.float32(edge - MARGIN)
        is_kept = score > self._least
        self._scores, self._rows = [score[is_kept]], [row[is_kept]]
        self._num = len(self._rows[0])

    def rows(self) -> np.ndarray:
        if self._num > self._limit:
            self._shrink()
        return np.concatenate(self._rows) if self._rows else np.empty(0, dtype=np.int64)
