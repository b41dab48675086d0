"""What is decoded of a sound."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Waveform:
    """The samples that stand for a sound."""

    samples: np.ndarray
    """[samples] float32 in [-1, 1], the mean of all channels; at least one."""

    sample_rate_hz: int
