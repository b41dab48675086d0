"""Every item ranked for every query, exactly: what an index approximates, and metrics are taken of.

Shape legend: Q = queries, N = items, D = embedding dimension, K = ranks.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

SCORE_DECIMALS = 6  # as the index rounds: equal items tie, whatever batch they are scored in
QUERY_BLOCK = 64  # queries scored at once, to bound the memory of their [Q, N] scores


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items that can be found."""

    item_ids: list[str]
    vectors_ND: np.ndarray

    @classmethod
    def of(cls, living: pl.DataFrame) -> "Catalogue":
        """Take item_id and vector of every row."""
        return cls(living["item_id"].to_list(), np.array(living["vector"].to_list(), np.float32))


def rank_all(
    query_vectors_QD: np.ndarray,
    item_vectors_ND: np.ndarray,
    item_ids: Sequence[str],
    *,
    top_k: int,
    exclude: Sequence[Collection[str]] | None = None,
) -> list[list[str]]:
    """Return the ids of each query's best items, best first; equal scores in order of id.

    Every item is scored, in float64. Scores that agree to six decimals are equal, which is what
    makes the order independent of the batch.

    Args:
        query_vectors_QD: L2-normalised.
        item_vectors_ND: L2-normalised, in the order of `item_ids`.
        item_ids: unique.
        top_k: items to return per query, >= 1; fewer when there are fewer.
        exclude: for each query, ids that must not come back.

    Raises:
        ValueError: the ids and vectors differ in number, or `top_k` is not positive.
    """
    if len(item_ids) != len(item_vectors_ND):
        raise ValueError(
            f"item_ids must have length {len(item_vectors_ND)}, one per vector, got {len(item_ids)}"
        )
    if top_k < 1:
        raise ValueError(f"top_k must be >= 1, got {top_k}")
    by_id_N = np.argsort(np.asarray(item_ids, dtype=object), kind="stable")
    ids = [item_ids[n] for n in by_id_N]
    position = {item_id: n for n, item_id in enumerate(ids)}
    ranked = []
    for q, score_N in enumerate(scores(query_vectors_QD, item_vectors_ND[by_id_N])):
        if exclude is not None:
            score_N[[position[i] for i in exclude[q] if i in position]] = -np.inf
        ranked.append([ids[n] for n in _best(score_N, top_k=top_k)])
    return ranked


def scores(query_vectors_QD: np.ndarray, item_vectors_ND: np.ndarray) -> Iterator[np.ndarray]:
    """Yield [N] float64 each query's scores of all items, to six decimals; vectors as above."""
    items_DN = item_vectors_ND.astype(np.float64).T
    for start in range(0, len(query_vectors_QD), QUERY_BLOCK):
        block_QD = query_vectors_QD[start : start + QUERY_BLOCK].astype(np.float64)
        yield from np.round(block_QD @ items_DN, SCORE_DECIMALS)


def _best(score_N: np.ndarray, *, top_k: int) -> np.ndarray:
    last = max(len(score_N) - top_k, 0)
    edge = np.partition(score_N, last)[last]
    candidates = np.flatnonzero((score_N >= edge) & (score_N > -np.inf))
    return candidates[np.argsort(-score_N[candidates], kind="stable")][:top_k]
