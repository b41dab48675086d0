"""What is decoded of a clip."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames that stand for a clip, and when each is shown."""

    images: list[np.ndarray]
    """[height, width, 3] uint8 each, upright RGB, all of one size."""

    times_s: list[float]
    """Ascending, from the first frame of the clip on, in seconds."""
