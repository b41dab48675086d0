"""One prompt, ready for a batch.

Shape legend: P = patches of its images and its clip, M = those of its clip, V = bytes of a patch in
one frame, U = those in the frames after the first, F = frames of its sound, N = bands of these
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from embedder.prompting.rotary import Grid


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt, tokenised, with what it shows."""

    tokens: list[int]
    patches_PV: np.ndarray | None = None
    """Bytes, one frame of each image, one image after the other; see `embedder.prompting.patches`;
    None without images."""

    grids: tuple[Grid, ...] = ()
    """Patches of each image along time, height and width, in the order of their tokens. Of a clip
    those of each temporal patch, as if it were an image."""

    later_MU: np.ndarray | None = None
    """Bytes of the last M patches in the frames after the first, for these are a clip's; None where
    nothing moves."""

    mel_FN: np.ndarray | None = None
    """Log-mel spectrogram of its sound; see `embedder.prompting.audio`. None without one."""

    def extended(self, tokens: Sequence[int]) -> "Sample":
        """Return the same prompt followed by more tokens."""
        return replace(self, tokens=[*self.tokens, *tokens])

    def __len__(self) -> int:
        return len(self.tokens)
