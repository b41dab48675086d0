"""Codebooks learned from vectors, by either learner behind one function."""

from typing import Protocol

import numpy as np

from embedder.codes.codebooks import Codebooks
from embedder.codes.config import CodesConfig, LearnerName
from embedder.codes.residual_kmeans import residual_kmeans


class Learner(Protocol):
    """Learns codebooks; the same ones of the same vectors, config and seed."""

    def __call__(
        self, vectors_ND: np.ndarray, config: CodesConfig, model_version: str
    ) -> Codebooks:
        """Return codebooks of [N, D] float32 vectors."""
        ...


def learner(name: LearnerName) -> Learner:
    """Return the learner of a name; that of an RQ-VAE loads torch."""
    if name == "kmeans":
        return residual_kmeans
    from embedder.codes.residual_vae import residual_vae

    return residual_vae


def learned(vectors_ND: np.ndarray, config: CodesConfig, *, model_version: str) -> Codebooks:
    """Learn codebooks of a version's vectors.

    Args:
        vectors_ND: float32, finite; those of some items stand for all.
        config: which learner, how many levels and codes.
        model_version: that made the vectors.

    Raises:
        ValueError: there are fewer vectors than codes of a level, or not all are finite.
    """
    if len(vectors_ND) < config.num_codes:
        raise ValueError(
            f"there must be at least as many items as codes of a level, {config.num_codes}, to "
            f"learn from, got {len(vectors_ND)}; embed more, or ask for fewer with --codes"
        )
    if not np.isfinite(vectors_ND).all():
        raise ValueError("vectors must be finite, got others; embed the items again")
    return learner(config.learner)(vectors_ND, config, model_version)
