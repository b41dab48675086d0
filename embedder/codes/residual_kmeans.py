"""Residual k-means: each level clusters what the levels before have left over.

As QARM (arXiv 2411.11739) and OneRec make codes of item vectors. No distances are balanced and no
codebook is refined with the others once it is learned; both would make codes more even.

Legend: N = vectors, D = their dimension, L = levels, K = codes of a level.
"""

from collections.abc import Iterator

import numpy as np

from embedder.codes.codebooks import Codebooks, Described
from embedder.codes.config import CodesConfig
from embedder.codes.kmeans import kmeans


def residual_kmeans(vectors_ND: np.ndarray, config: CodesConfig, model_version: str) -> Codebooks:
    """Learn codebooks of vectors; see `embedder.codes.learning.learned`."""
    rng = np.random.default_rng(config.seed)
    levels = list(residual_centroids(vectors_ND, config, rng))
    described = Described(model_version=model_version, config=config)
    return Codebooks(of=described, centroids_LKC=np.stack(levels))


def residual_centroids(
    vectors_ND: np.ndarray, config: CodesConfig, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield [K, D] float32 centroids, level by level."""
    left_ND = vectors_ND.astype(np.float32, copy=True)
    for _ in range(config.num_levels):
        centroids_KD = kmeans(left_ND, config.num_codes, rounds=config.rounds, rng=rng)
        yield centroids_KD
        level = Codebooks(
            of=Described(model_version="", config=config), centroids_LKC=centroids_KD[None]
        )
        left_ND -= centroids_KD[level.assign(left_ND)[:, 0]]
