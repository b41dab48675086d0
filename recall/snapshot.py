"""One state of a version's vectors, searched exactly.

Vectors are compared in float32, a block of rows at a time, and of each block only what may still be
among the best is looked at again. Those few are scored in float64, so that a score depends neither
on what it was computed beside nor on how the work was cut.

Shape legend: Q = queries, N = rows of all blocks, C = rows of a chunk, D = embedding dimension.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl

from catalog.lake.living_parts import IdRange
from evaluation.exact_ranking import SCORE_DECIMALS
from recall.block_filter import matching
from recall.blocks import Block, OpenState
from recall.filters import Filter
from recall.tops import Tops
from recall.vector_search import KEYS, RANKED

CHUNK_SCORES = 2**18  # scores of a chunk, Q x C: 1 MB, which a core keeps at hand
MIN_CHUNK = 4_096
FEW = 0.1  # of the rows: so few are gathered instead of masked
FEW_IDS = 16  # so few are looked up one by one: polars hands each of its calls to other threads


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
        self._sorted_ids, self._sorted_rows = self._by_id()

    def _by_id(self) -> tuple[pl.Series, np.ndarray]:
        """Return the ids that count, in order, and their rows."""
        rows = np.flatnonzero(self._is_live_N)
        ids = self._ids if self._is_live_N.all() else self._ids.gather(rows)
        if ids.is_sorted():  # as after a first build; sorting would take 200 bytes an id
            return ids, rows
        order = ids.arg_sort()
        return ids.gather(order), rows[order.to_numpy()]

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
        found = [KEYS.to_frame()]
        for block, _, here in self._by_block(np.sort(rows)):
            told = pl.concat([block.rows, block.hashes()], how="horizontal").select(KEYS.names())
            found.append(told[here])
        return pl.concat(found).sort("item_id")

    def held(self, item_ids: pl.Series) -> pl.Series:
        """Return those of the items that are there."""
        return self._ids[self._rows_of(item_ids.to_list())].alias("item_id")

    def vectors(self, item_ids: Sequence[str], filter: Filter) -> dict[str, np.ndarray]:
        """Return the unit vectors of those items that are there and match."""
        rows = self._rows_of(item_ids)
        rows = np.sort(rows[self._allowed_N(filter)[rows]])
        return dict(zip(self._ids[rows].to_list(), self._gathered(rows), strict=True))

    def search(self, query_vectors_QD: np.ndarray, *, limit: int, filter: Filter) -> pl.DataFrame:
        """Return the best items of each query; see `recall.vector_search.VectorSearch`."""
        if not self._blocks:
            return RANKED.to_frame()
        wide_QD = query_vectors_QD.astype(np.float64)
        wide_QD = wide_QD / np.linalg.norm(wide_QD, axis=1, keepdims=True)
        allowed_N = self._allowed_N(filter)
        pools = self._pools(wide_QD.astype(np.float32), allowed_N, limit=limit)
        return self._ranked(wide_QD, pools, limit=limit)

    def _pools(
        self, query_vectors_QD: np.ndarray, allowed_N: np.ndarray, *, limit: int
    ) -> list[np.ndarray]:
        """Return for each query the rows that may be among its best."""
        num_queries, num_allowed = len(query_vectors_QD), np.count_nonzero(allowed_N)
        if num_allowed <= limit:
            return [np.flatnonzero(allowed_N)] * num_queries
        tops = Tops(num_queries, limit)
        if num_allowed <= FEW * len(allowed_N):
            allowed = np.flatnonzero(allowed_N)
            tops.take(self._gathered(allowed) @ query_vectors_QD.T, 0)
            return [allowed[rows] for rows in tops.rows()]
        num_rows = max(MIN_CHUNK, CHUNK_SCORES // num_queries)
        # One array for all chunks: a new one would be new pages, each of them cleared first.
        score_CQ = np.empty((min(num_rows, len(allowed_N)), num_queries), dtype=np.float32)
        for start in range(0, len(allowed_N), num_rows):
            allowed_C = allowed_N[start : start + num_rows]
            score_CQ = score_CQ[: len(allowed_C)]
            self._score(query_vectors_QD, start, score_CQ)
            if not allowed_C.all():
                score_CQ[~allowed_C] = -np.inf
            tops.take(score_CQ, start)
        return tops.rows()

    def _score(self, query_vectors_QD: np.ndarray, start: int, score_CQ: np.ndarray) -> None:
        """Fill in the cosines of the rows from `start` on, which may lie in several blocks."""
        begin, end = start, start + len(score_CQ)
        number = int(np.searchsorted(self._starts, start, side="right")) - 1
        while begin < end:
            block_start, block_end = self._starts[number : number + 2]
            until = min(end, block_end)
            vectors_CD = self._blocks[number].vectors_ND[begin - block_start : until - block_start]
            np.matmul(vectors_CD, query_vectors_QD.T, out=score_CQ[begin - start : until - start])
            begin, number = until, number + 1

    def _ranked(
        self, query_QD: np.ndarray, pools: Sequence[np.ndarray], *, limit: int
    ) -> pl.DataFrame:
        rows, scores = [], []
        for query_D, pool in zip(query_QD, pools, strict=True):
            # A row's sum is its own: a product of matrices might add in an order that depends on N.
            score = np.round(np.einsum("nd,d->n", self._gathered(pool), query_D), SCORE_DECIMALS)
            best = np.lexsort((self._place_N[pool], -score))[:limit]
            rows.append(pool[best])
            scores.append(score[best])
        lengths = [len(each) for each in rows]
        ranks = [np.arange(1, length + 1, dtype=np.uint32) for length in lengths]
        columns = [
            pl.Series("query_index", np.repeat(np.arange(len(rows), dtype=np.uint32), lengths)),
            self._ids[np.concatenate(rows)],
            pl.Series("recall_score", np.concatenate(scores).astype(np.float32)),
            pl.Series("recall_rank", np.concatenate(ranks)),
        ]
        return pl.DataFrame(columns)

    def _gathered(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of rows, which ascend."""
        if len(self._blocks) == 1:
            return self._blocks[0].vectors_ND[rows]
        gathered = np.empty((len(rows), self.state.dim), dtype=np.float32)
        for block, places, here in self._by_block(rows):
            gathered[places] = block.vectors_ND[here]
        return gathered

    def _by_block(self, rows: np.ndarray) -> Iterator[tuple[Block, slice, np.ndarray]]:
        """Yield each block with some of the rows, which ascend: which of them, and where there."""
        edges = np.searchsorted(rows, self._starts)
        ends = zip(self._blocks, self._starts, edges, edges[1:], strict=False)
        for block, start, begin, end in ends:
            if begin < end:
                yield block, slice(begin, end), rows[begin:end] - start

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
        wanted = list(dict.fromkeys(item_ids))
        if not len(self) or not wanted:
            return np.empty(0, dtype=np.int64)
        places = np.minimum(self._places(wanted), len(self) - 1)
        is_there = self._sorted_ids[places] == pl.Series(wanted, dtype=pl.String)
        return self._sorted_rows[places[is_there.to_numpy()]]

    def _places(self, wanted: list[str]) -> np.ndarray:
        """Return where each id stands, or would stand, among the living ones in order."""
        if len(wanted) <= FEW_IDS:
            return np.array([bisect_left(self._sorted_ids, item_id) for item_id in wanted])
        return self._sorted_ids.search_sorted(pl.Series(wanted), side="left").to_numpy()
