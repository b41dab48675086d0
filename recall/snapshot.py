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
from recall.vector_search import KEYS, RANKED

CHUNK_SCORES = 2**18  # scores of a chunk, Q x C: 1 MB, which a core keeps at hand
MIN_CHUNK, MAX_CHUNK = 4_096, 65_536
FEW = 0.1  # of the rows: so few are gathered instead of masked
FEW_IDS = 16  # so few are looked up one by one: polars hands each of its calls to other threads
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
        for block, _, here in self._by_block(rows):
            told = pl.concat([block.rows, block.hashes()], how="horizontal").select(KEYS.names())
            found.append(told[here])
        return pl.concat(found).sort("item_id")

    def held(self, item_ids: pl.Series) -> pl.Series:
        """Return those of the items that are there."""
        return self._ids[self._rows_of(item_ids.to_list())].alias("item_id")

    def vectors(self, item_ids: Sequence[str], filter: Filter) -> dict[str, np.ndarray]:
        """Return the unit vectors of those items that are there and match."""
        rows = self._rows_of(item_ids)
        rows = rows[self._allowed_N(filter)[rows]]
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
        tops = _Tops(num_queries, limit)
        if num_allowed <= FEW * len(allowed_N):
            allowed = np.flatnonzero(allowed_N)
            tops.take(self._gathered(allowed) @ query_vectors_QD.T, allowed)
            return tops.rows()
        chunk = int(np.clip(CHUNK_SCORES // num_queries, MIN_CHUNK, MAX_CHUNK))
        for start, vectors_CD in self._chunks(chunk):
            score_CQ = vectors_CD @ query_vectors_QD.T
            rows = np.arange(start, start + len(vectors_CD))
            allowed_C = allowed_N[start : start + len(vectors_CD)]
            if not allowed_C.all():
                score_CQ[~allowed_C] = -np.inf
            tops.take(score_CQ, rows)
        return tops.rows()

    def _chunks(self, num_rows: int) -> Iterator[tuple[int, np.ndarray]]:
        for block, start in zip(self._blocks, self._starts, strict=False):
            for begin in range(0, len(block.rows), num_rows):
                yield int(start) + begin, block.vectors_ND[begin : begin + num_rows]

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
        return pl.DataFrame(
            {
                "query_index": np.repeat(np.arange(len(rows), dtype=np.uint32), lengths),
                "item_id": self._ids[np.concatenate(rows)],
                "recall_score": np.concatenate(scores).astype(np.float32),
                "recall_rank": np.concatenate(
                    [np.arange(1, length + 1, dtype=np.uint32) for length in lengths]
                ),
            },
            schema=RANKED,
        )

    def _gathered(self, rows: np.ndarray) -> np.ndarray:
        if len(self._blocks) == 1:
            return self._blocks[0].vectors_ND[rows]
        gathered = np.empty((len(rows), self.state.dim), dtype=np.float32)
        for block, places, here in self._by_block(rows):
            gathered[places] = block.vectors_ND[here]
        return gathered

    def _by_block(self, rows: np.ndarray) -> Iterator[tuple[Block, np.ndarray, np.ndarray]]:
        """Yield each block with some of the rows, their places in `rows`, and their rows there."""
        block_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(block_of):
            places = np.flatnonzero(block_of == number)
            yield self._blocks[number], places, rows[places] - self._starts[number]

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


class _Tops:
    """The rows that may be among the best of each query, while chunks of scores come by."""

    def __init__(self, num_queries: int, limit: int) -> None:
        self._limit = limit
        # Below it a row has no chance any more.
        self._least_Q = np.full(num_queries, -np.inf, dtype=np.float32)
        self._kept = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        self._room = 2 * limit * num_queries

    def take(self, score_CQ: np.ndarray, rows_C: np.ndarray) -> None:
        """Look at the scores of these rows."""
        if np.isinf(self._least_Q[0]) and len(score_CQ) > self._limit:
            self._raise(score_CQ)
        # Much faster than nonzero of two dimensions.
        row, query = np.divmod(np.flatnonzero(score_CQ > self._least_Q), len(self._least_Q))
        self._kept.append((rows_C[row], query, score_CQ[row, query]))
        self._room -= len(row)
        if self._room < 0:
            self._shrink()

    def _raise(self, score_CQ: np.ndarray) -> None:
        edge = len(score_CQ) - self._limit
        edge_Q = np.partition(score_CQ, edge, axis=0)[edge]
        self._least_Q = np.maximum(self._least_Q, edge_Q - np.float32(MARGIN))

    def _shrink(self) -> None:
        kept = [self._best(query, *found) for query, found in enumerate(self._by_query())]
        self._kept = [
            (rows, np.full(len(rows), query), scores) for query, (rows, scores) in enumerate(kept)
        ]
        self._room = 2 * self._limit * len(kept) - sum(len(rows) for rows, _ in kept)

    def _best(
        self, query: int, rows: np.ndarray, scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if len(rows) > self._limit:
            edge = len(scores) - self._limit
            self._least_Q[query] = np.partition(scores, edge)[edge] - np.float32(MARGIN)
        is_kept = scores > self._least_Q[query]
        return rows[is_kept], scores[is_kept]

    def _by_query(self) -> list[tuple[np.ndarray, np.ndarray]]:
        rows, queries, scores = (np.concatenate(each) for each in zip(*self._kept, strict=True))
        order = np.argsort(queries, kind="stable")
        edges = np.searchsorted(queries[order], np.arange(1, len(self._least_Q)))
        split_rows, split_scores = (np.split(each[order], edges) for each in (rows, scores))
        return list(zip(split_rows, split_scores, strict=True))

    def rows(self) -> list[np.ndarray]:
        """Return the rows of each query."""
        self._shrink()
        return [rows for rows, _ in self._by_query()]
