"""Candidates that are not all the same: without near-duplicates, and spread out.

Shape legend: N = candidates, best first, D = embedding dimension.
"""

from collections.abc import Sequence

import numpy as np


def distinct(
    vectors_ND: np.ndarray, image_hashes: Sequence[str | None], *, max_similarity: float, limit: int
) -> list[int]:
    """Return the rows that are no near-duplicates of a row before them, ascending.

    Args:
        vectors_ND: L2-normalised.
        image_hashes: of their images; None for an item without one. Equal ones are duplicates.
        max_similarity: from this cosine on, two rows are duplicates.
        limit: rows at most.
    """
    kept: list[int] = []
    kept_ND = np.empty_like(vectors_ND)  # side by side, so that no row copies those before it
    seen: set[str] = set()
    least = max_similarity - 1e-6  # float32 holds no more of a cosine
    for row, image_hash in enumerate(image_hashes):
        if len(kept) == limit:
            break
        is_same_image = image_hash is not None and image_hash in seen
        similar = kept_ND[: len(kept)] @ vectors_ND[row]
        if is_same_image or (kept and similar.max() >= least):
            continue
        kept_ND[len(kept)] = vectors_ND[row]
        kept.append(row)
        if image_hash is not None:
            seen.add(image_hash)
    return kept


def mmr(
    relevance_N: np.ndarray, vectors_ND: np.ndarray, *, mmr_lambda: float, limit: int
) -> list[int]:
    """Return rows by maximal marginal relevance (Carbonell and Goldstein, 1998), best first.

    The next row is the one with the largest `lambda * relevance - (1 - lambda) * similarity`, where
    similarity is its largest cosine with a row that was taken; equal ones in the order they came.

    Args:
        relevance_N: in the units of a cosine.
        vectors_ND: L2-normalised.
        mmr_lambda: 1 keeps the order by relevance, 0 only spreads out.
        limit: rows at most.
    """
    similarity_N = np.zeros(len(vectors_ND), dtype=np.float64)
    left_N = np.ones(len(vectors_ND), dtype=bool)
    taken: list[int] = []
    while len(taken) < min(limit, len(vectors_ND)):
        gain_N = mmr_lambda * relevance_N - (1 - mmr_lambda) * similarity_N
        row = int(np.argmax(np.where(left_N, gain_N, -np.inf)))
        cosine_N = (vectors_ND @ vectors_ND[row]).astype(np.float64)
        similarity_N = np.maximum(similarity_N, cosine_N) if taken else cosine_N
        left_N[row] = False
        taken.append(row)
    return taken
