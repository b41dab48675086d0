"""The rows that may be among the best of each query, while chunks of scores come by.

Shape legend: Q = queries, C = rows of a chunk, S = rows of a group, G = groups.
"""

import numpy as np

MARGIN = 4e-6  # what rounding to 6 decimals and float32 sums may move a score, together
GROUPS = 8  # times the limit: with more the bound is a little higher, and takes longer to find
ROOM = 4  # times the limit: what is kept of a query before it is looked through


class Tops:
    """Keeps what may be among the best; of the others only that they are not."""

    def __init__(self, num_queries: int, limit: int) -> None:
        """Keep nothing yet.

        Args:
            num_queries: Q.
            limit: how many of the best are wanted.
        """
        self._limit = limit
        # Below it a row has no chance any more.
        self._least_Q = np.full(num_queries, -np.inf, dtype=np.float32)
        self._kept = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        self._room = ROOM * limit * num_queries

    def take(self, score_CQ: np.ndarray, start: int) -> None:
        """Look at the float32 scores of the rows from `start` on; -inf is never kept."""
        if np.isinf(self._least_Q[0]) and len(score_CQ) > self._limit:
            edge_Q = _edge(score_CQ, self._limit) - np.float32(MARGIN)
            self._least_Q = np.maximum(self._least_Q, edge_Q)
        # Much faster than nonzero of two dimensions.
        places = np.flatnonzero(score_CQ > self._least_Q)
        row, query = np.divmod(places, len(self._least_Q))
        self._kept.append((row + start, query, score_CQ.reshape(-1)[places]))
        self._room -= len(row)
        if self._room < 0:
            self._shrink()

    def rows(self) -> list[np.ndarray]:
        """Return the rows of each query, in order."""
        return [rows for rows, _ in self._shrink()]

    def _shrink(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Keep, and return of each query, the rows and scores that still have a chance."""
        kept = [self._best(query, *found) for query, found in enumerate(self._by_query())]
        self._kept = [
            (rows, np.full(len(rows), query), scores) for query, (rows, scores) in enumerate(kept)
        ]
        self._room = ROOM * self._limit * len(kept) - sum(len(rows) for rows, _ in kept)
        return kept

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
        if len(self._least_Q) == 1:
            return [(rows, scores)]
        order = np.argsort(queries, kind="stable")
        edges = np.searchsorted(queries[order], np.arange(1, len(self._least_Q)))
        split_rows, split_scores = (np.split(each[order], edges) for each in (rows, scores))
        return list(zip(split_rows, split_scores, strict=True))


def _edge(score_CQ: np.ndarray, limit: int) -> np.ndarray:
    """Return [Q] what at least `limit` of more than `limit` scores reach, nearly the highest such.

    Instead of all scores those of groups are compared, each by its best, which is much quicker: as
    many scores reach a bound as groups do, at least. A group takes its rows from all over the
    chunk, since those that stand side by side may be alike.
    """
    num_groups = min(len(score_CQ), GROUPS * limit)
    size = len(score_CQ) // num_groups
    score_SGQ = score_CQ[: size * num_groups].reshape(size, num_groups, -1)
    best_QG = np.ascontiguousarray(score_SGQ.max(axis=0).T)
    edge = num_groups - limit
    edge_Q: np.ndarray = np.partition(best_QG, edge, axis=1)[:, edge]
    return edge_Q
