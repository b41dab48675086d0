"""K-means of vectors or of what a level has left over of them.

Another one than that of `features.clusters`, which is spherical: what is left over of a vector has
a length that says something.

Legend: N = vectors, K = centroids, D = their dimension.
"""

import numpy as np

ROWS_AT_ONCE = 8_192


def kmeans(
    vectors_ND: np.ndarray, num_centroids: int, *, rounds: int, rng: np.random.Generator
) -> np.ndarray:
    """Return [K, D] float32 centroids by Lloyd's rounds.

    It starts from vectors drawn far from each other (k-means++, Arthur and Vassilvitskii 2007). A
    centroid that no vector is nearest to is put on the vector that lies farthest from its own, each
    on another one; where nothing lies apart from its own, as among fewer different vectors than
    centroids, it stays, and repeats one.

    Args:
        vectors_ND: float32, at least K.
        num_centroids: K.
        rounds: at most; it ends when no vector changes its centroid.
        rng: of what is drawn.
    """
    centroids_KD = _far_apart(vectors_ND, num_centroids, rng)
    nearest_N = np.full(len(vectors_ND), -1)
    for _ in range(rounds):
        before_N = nearest_N
        nearest_N, apart_N = _nearest(vectors_ND, centroids_KD)
        if (nearest_N == before_N).all():
            break
        size_K = np.bincount(nearest_N, minlength=num_centroids)
        sum_KD = _sums(vectors_ND, nearest_N, num_centroids)
        is_used_K = size_K > 0
        centroids_KD[is_used_K] = sum_KD[is_used_K] / size_K[is_used_K, None]
        idle_K = np.flatnonzero(~is_used_K)
        farthest = np.argsort(-apart_N, kind="stable")[: len(idle_K)]
        farthest = farthest[apart_N[farthest] > 0]
        centroids_KD[idle_K[: len(farthest)]] = vectors_ND[farthest]
    return centroids_KD.astype(np.float32)


def _far_apart(vectors_ND: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Return [num, D] float64 vectors, each drawn by its squared distance from those before."""
    chosen = [int(rng.integers(len(vectors_ND)))]
    square_N = np.einsum("nd,nd->n", vectors_ND, vectors_ND)
    apart_N = np.full(len(vectors_ND), np.inf)
    even_N = np.full(len(vectors_ND), 1 / len(vectors_ND))
    while len(chosen) < num:
        last = chosen[-1]
        from_last_N = square_N + square_N[last] - 2 * (vectors_ND @ vectors_ND[last])
        apart_N = np.minimum(apart_N, np.maximum(from_last_N.astype(np.float64), 0))
        apart_N[last] = 0  # but for rounding it is at 0 already
        total = apart_N.sum()
        share_N = apart_N / total if total > 0 else even_N
        chosen.append(int(rng.choice(len(vectors_ND), p=share_N)))
    return vectors_ND[chosen].astype(np.float64)


def _nearest(vectors_ND: np.ndarray, centroids_KD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return [N] the nearest centroid of each, and its squared distance, float32."""
    narrow_KD = centroids_KD.astype(np.float32)
    square_K = np.einsum("kd,kd->k", narrow_KD, narrow_KD)
    nearest_N = np.empty(len(vectors_ND), dtype=np.int64)
    apart_N = np.empty(len(vectors_ND), dtype=np.float32)
    for start in range(0, len(vectors_ND), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        rows_ND = vectors_ND[part]
        apart_NK = square_K - 2 * (rows_ND @ narrow_KD.T)
        nearest_N[part] = apart_NK.argmin(axis=1)
        square_N = np.einsum("nd,nd->n", rows_ND, rows_ND)
        apart_N[part] = np.maximum(apart_NK.min(axis=1) + square_N, 0)
    return nearest_N, apart_N


def _sums(vectors_ND: np.ndarray, nearest_N: np.ndarray, num: int) -> np.ndarray:
    """Return [num, D] float64 the sum of the vectors of each centroid."""
    order_N = np.argsort(nearest_N, kind="stable")
    begins = np.searchsorted(nearest_N[order_N], np.arange(num + 1))
    sum_KD = np.zeros((num, vectors_ND.shape[1]))
    for number in np.flatnonzero(np.diff(begins)):
        rows = order_N[begins[number] : begins[number + 1]]
        sum_KD[number] = vectors_ND[rows].sum(axis=0, dtype=np.float64)
    return sum_KD
