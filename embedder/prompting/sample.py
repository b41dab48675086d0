"""One prompt, ready for a batch.

Shape legend: P = patches of its images, V = bytes of one patch
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedder.prompting.rotary import Grid


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt, tokenised, with its images' patches."""

    tokens: list[int]
    patches_PV: np.ndarray | None = None
    """Bytes, one frame of each image, one image after the other; see `embedder.prompting.patches`;
    None without images."""

    grids: tuple[Grid, ...] = ()
    """Patches of each image along time, height and width, in the order of their tokens."""

    def extended(self, tokens: Sequence[int]) -> "Sample":
        """Return the same prompt followed by more tokens."""
        return Sample([*self.tokens, *tokens], self.patches_PV, self.grids)

    def __len__(self) -> int:
        return len(self.tokens)
