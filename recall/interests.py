"""What a history is about: its interests, each with an item that stands for it.

After PinnerSage (arXiv 2007.03634): items are clustered with Ward's method, a cluster is searched
by its medoid, which is an item and so never lies where there is nothing, and weighs as much as its
items, recent ones more. Left out: the threshold that ends the clustering, which would be another
one for every model version. Here it ends at a number of interests, and one that weighs little finds
little.

Shape legend: H = items of a history, C = items of a cluster, D = embedding dimension.
"""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage


@dataclass(frozen=True, slots=True)
class Interest:
    """A part of a history that belongs together."""

    row: int
    """Of its medoid, in the vectors that were given."""

    weight: float
    """Share of the history's weight, in (0, 1]; of all interests together 1."""

    size: int
    """Items of the history in it."""


def interests(vectors_HD: np.ndarray, *, half_life: float, max_interests: int) -> list[Interest]:
    """Return the interests of a history, the heaviest first; equal ones by their newest item.

    Args:
        vectors_HD: vectors of the items, newest first, L2-normalised, H >= 1. An item acted on
            twice stands in it twice.
        half_life: number of items after which an item weighs half.
        max_interests: at most so many, >= 1.
    """
    weight_H = 0.5 ** (np.arange(len(vectors_HD)) / half_life)
    total = weight_H.sum()
    clusters = _clusters(vectors_HD, max_interests)
    found = [
        Interest(
            row=int(rows[_medoid(vectors_HD[rows], weight_H[rows])]),
            weight=float(weight_H[rows].sum() / total),
            size=len(rows),
        )
        for rows in sorted(clusters, key=lambda rows: rows[0])
    ]
    return sorted(found, key=lambda interest: -interest.weight)


def _clusters(vectors_HD: np.ndarray, max_interests: int) -> list[np.ndarray]:
    """Return the rows of each cluster, ascending."""
    if len(vectors_HD) == 1 or max_interests == 1:
        return [np.arange(len(vectors_HD))]
    tree = linkage(vectors_HD.astype(np.float64), "ward")
    label_H = fcluster(tree, max_interests, "maxclust")
    return [np.flatnonzero(label_H == label) for label in np.unique(label_H)]


def _medoid(vectors_CD: np.ndarray, weight_C: np.ndarray) -> int:
    """Return the row that is nearest to all of a cluster, heavy ones first; ties: the newest."""
    similarity_CC = vectors_CD.astype(np.float64) @ vectors_CD.astype(np.float64).T
    return int(np.argmax(np.round(similarity_CC @ weight_C, 6)))
