"""Clusters of item vectors: the centres of a frozen reference, and which is nearest.

Legend: N = items, K = clusters, D = embedding dimension.
"""

import numpy as np

MAX_ROWS = 20_000
"""Vectors that the centres are made of at most, drawn among all."""

ROUNDS = 20
"""After so many the centres hardly move."""

ROWS_AT_ONCE = 8_192
"""Vectors compared at once in double precision."""


def cluster_centres(vectors_ND: np.ndarray, num_clusters: int, *, seed: int) -> np.ndarray:
    """Return [K, D] float32 centres of spherical k-means, L2-normalised.

    It starts from vectors drawn far from each other (k-means++, Arthur and Vassilvitskii 2007). A
    centre that loses all its vectors stays where it was.

    Args:
        vectors_ND: L2-normalised; those of length 0 are left out.
        num_clusters: wanted; fewer where there are fewer than ten vectors for each. 0: none.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(vectors_ND.any(axis=1))
    if len(known) > MAX_ROWS:
        known = np.sort(rng.choice(known, MAX_ROWS, replace=False))
    num_clusters = min(num_clusters, len(known) // 10)
    if num_clusters < 2:
        return np.zeros((0, vectors_ND.shape[1]), dtype=np.float32)
    some_ND = vectors_ND[known].astype(np.float64)
    centres_KD = _far_apart(some_ND, num_clusters, rng)
    for _ in range(ROUNDS):
        nearest_N = (some_ND @ centres_KD.T).argmax(axis=1)
        sums_KD = np.zeros_like(centres_KD)
        np.add.at(sums_KD, nearest_N, some_ND)
        length_K1 = np.linalg.norm(sums_KD, axis=1, keepdims=True)
        centres_KD = np.where(length_K1 > 1e-9, sums_KD / np.maximum(length_K1, 1e-9), centres_KD)
    return centres_KD.astype(np.float32)


def _far_apart(vectors_ND: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    chosen = [int(rng.integers(len(vectors_ND)))]
    apart_N = np.ones(len(vectors_ND))
    while len(chosen) < num:
        apart_N = np.minimum(apart_N, np.maximum(1 - vectors_ND @ vectors_ND[chosen[-1]], 0))
        apart_N[chosen] = 0  # but for rounding they are at 0 already
        total = apart_N.sum()
        even = np.full(len(apart_N), 1 / len(apart_N))
        chosen.append(int(rng.choice(len(apart_N), p=apart_N / total if total > 0 else even)))
    return vectors_ND[chosen]


def nearest_centres(vectors_ND: np.ndarray, centres_KD: np.ndarray) -> np.ndarray:
    """Return [N] int32 number of the centre with the largest cosine; of equal ones the first.

    -1 for a vector of length 0. In double precision, so that no item changes its cluster with how
    many others are looked at.
    """
    nearest_N = np.empty(len(vectors_ND), dtype=np.int32)
    centres_DK = centres_KD.T.astype(np.float64)
    for start in range(0, len(vectors_ND), ROWS_AT_ONCE):
        part_ND = vectors_ND[start : start + ROWS_AT_ONCE]
        found = (part_ND.astype(np.float64) @ centres_DK).argmax(axis=1)
        nearest_N[start : start + len(part_ND)] = np.where(part_ND.any(axis=1), found, -1)
    return nearest_N
