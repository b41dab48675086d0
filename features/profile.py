"""What a user likes, as one vector made of the items they acted on.

Shape legend: H = items of a history, D = embedding dimension.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileConfig:
    """How a history becomes a vector."""

    max_history: int = 50
    """Newest items of a history that shape its profile; recall leaves older ones out of its
    answers all the same."""

    half_life: float = 10.0
    """Number of items after which an item of the history weighs half."""

    def __post_init__(self) -> None:
        if self.max_history < 1:
            raise ValueError(f"max_history must be >= 1, got {self.max_history}")
        if self.half_life <= 0:
            raise ValueError(f"half_life must be > 0, got {self.half_life}")


def profile_vector(
    vectors_HD: np.ndarray, *, half_life: float, centre_D: np.ndarray | None = None
) -> np.ndarray:
    """Return [D] float32, the history's mean vector, recent items weighing more, normalised.

    Args:
        vectors_HD: vectors of the items, newest first, L2-normalised, H >= 1. An item acted on
            twice stands in it twice.
        half_life: as in `ProfileConfig`.
        centre_D: taken off the mean before it is normalised: what all items of a catalogue have in
            common, so that what is left is what this user likes more than others. None: nothing.

    Returns:
        The profile; the newest item's vector when the mean has no direction, as when two
        opposite vectors weigh the same.
    """
    age_H = np.arange(len(vectors_HD))
    weight_H = 0.5 ** (age_H / half_life)
    mean_D = weight_H @ vectors_HD.astype(np.float64) / weight_H.sum()
    if centre_D is not None:
        mean_D = mean_D - centre_D
    norm = np.linalg.norm(mean_D)
    if norm < 1e-6:
        return vectors_HD[0].astype(np.float32)
    return (mean_D / norm).astype(np.float32)
