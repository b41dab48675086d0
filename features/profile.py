"""What a user likes, as one vector made of the items they acted on.

Shape legend: H = items of a history, D = embedding dimension.
"""

import numpy as np


def profile_vector(vectors_HD: np.ndarray, *, half_life: float) -> np.ndarray:
    """[D] float32: the mean of the history's vectors, recent ones weighing more, normalised.

    Args:
        vectors_HD: vectors of the items, newest first, L2-normalised, H >= 1. An item acted on
            twice stands in it twice.
        half_life: number of items after which the weight has halved, > 0.

    Returns:
        The profile; the newest item's vector when the mean has no direction, as when two
        opposite vectors weigh the same.
    """
    age_H = np.arange(len(vectors_HD))
    weight_H = 0.5 ** (age_H / half_life)
    mean_D = weight_H @ vectors_HD.astype(np.float64) / weight_H.sum()
    norm = np.linalg.norm(mean_D)
    if norm < 1e-6:
        return vectors_HD[0].astype(np.float32)
    return (mean_D / norm).astype(np.float32)
