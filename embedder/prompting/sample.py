"""One prompt, ready for a batch.

Shape legend: P = patches of the image, V = bytes of one patch
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedder.prompting.rotary import Grid


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt, tokenised, with its image's patches."""

    tokens: list[int]
    patches_PV: np.ndarray | None = None
    """Bytes, one frame of them; see `embedder.prompting.patches`."""

    grid: Grid | None = None
    """Patches of the image along time, height and width."""

    def extended(self, tokens: Sequence[int]) -> "Sample":
        """The same prompt followed by more tokens."""
        return Sample([*self.tokens, *tokens], self.patches_PV, self.grid)

    def __len__(self) -> int:
        return len(self.tokens)
