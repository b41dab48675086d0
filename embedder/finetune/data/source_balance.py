"""Weights of sources by how close their contents lie to what will be asked and found.

SAIL-Embedding (section 3.1.3) embeds contents of every training set and of every benchmark, takes
the optimal transport from the ones to the others by Sinkhorn's iteration, and draws a set the more
often, the higher the cosines are over which it is carried. Our reconstruction of what is not
published: the strength of the entropy, the temperature of the softmax (it follows from how far a
source may be favoured), and that both sides of a pair count alike. Left out: the k-means before it,
for a few hundred contents are carried as they are.

Shape legend: N, M = contents of either set, D = embedding dimension, S = sources
"""

from collections.abc import Mapping, Sequence

import numpy as np

ENTROPY = 0.05
"""Weight of the plan's entropy, in cosines; smaller ones carry each content to fewer others."""

MAX_ROUNDS = 5_000
TOLERANCE = 1e-6
"""Of the mass that arrives at a content, relative to what it should get."""


def transport_plan(cost_NM: np.ndarray, *, entropy: float = ENTROPY) -> np.ndarray:
    """Return [N, M] shares of a unit of mass that are carried from each row to each column.

    The plan of least cost minus `entropy` times its entropy (Cuturi 2013); every row gives 1/N and
    every column gets 1/M. It ends when the columns get that to a relative 1e-6, or after 5,000
    rounds.

    Args:
        cost_NM: of a unit, in [0, 2]; hundreds of times the entropy would underflow.
        entropy: > 0, in units of the cost.
    """
    num_rows, num_columns = cost_NM.shape
    kernel_NM = np.exp(-cost_NM.astype(np.float64) / entropy)
    column_M = np.ones(num_columns)
    for _ in range(MAX_ROUNDS):
        row_N = 1 / num_rows / (kernel_NM @ column_M)
        arriving_M = (row_N @ kernel_NM) * column_M
        if np.abs(arriving_M * num_columns - 1).max() < TOLERANCE:
            break
        column_M /= arriving_M * num_columns
    return row_N[:, None] * kernel_NM * column_M


def closeness(one_ND: np.ndarray, other_MD: np.ndarray, *, entropy: float = ENTROPY) -> float:
    """Return the mean cosine over which one set of contents is carried to another, in [-1, 1].

    Args:
        one_ND: L2-normalised.
        other_MD: L2-normalised.
        entropy: of the plan.
    """
    cosine_NM = one_ND.astype(np.float64) @ other_MD.astype(np.float64).T
    return float((transport_plan(1 - cosine_NM, entropy=entropy) * cosine_NM).sum())


def balanced_weights(closeness_of: Mapping[str, float], *, max_weight: float) -> dict[str, float]:
    """Return weights of sources with mean 1, their softmax at the temperature of the largest.

    Sources that lie equally close weigh the same, however many pairs they have.

    Args:
        closeness_of: by source.
        max_weight: what the closest source gets, at least 1; with as many sources or more it
            would get everything, and all of them weigh 1 where they lie equally close.
    """
    names = list(closeness_of)
    score_S = np.array([closeness_of[name] for name in names])
    behind_S = score_S.max() - score_S
    low, high = 1e-4, 1e4  # of the temperature, in cosines
    for _ in range(60):
        middle = (low * high) ** 0.5
        is_favoured_more = _mean_one(behind_S / middle).max() > max_weight
        low, high = (middle, high) if is_favoured_more else (low, middle)
    return dict(zip(names, _mean_one(behind_S / high).tolist(), strict=True))


def _mean_one(behind_S: np.ndarray) -> np.ndarray:
    weight_S = np.exp(-behind_S)
    return np.asarray(weight_S / weight_S.mean())


def closeness_by_kind(
    sides: Sequence[np.ndarray], asked: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, float]:
    """Return how close a source lies to each kind of question, its queries and targets alike.

    Args:
        sides: [N, D] vectors of the source's queries, and of its targets.
        asked: by kind the vectors of its questions, and of what answers them.
    """
    return {
        kind: float(np.mean([closeness(*pair) for pair in zip(sides, others, strict=True)]))
        for kind, others in asked.items()
    }
