"""Features of frozen encoders on disk, each computed once; a killed filling goes on.

Shape legend: N = keys, F = features
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from catalog.atomic_file import write_atomically

CHUNK = 256
"""Features that a kill costs at most."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Features by key, read from disk as they are needed."""

    values_NF: np.ndarray
    """float32, mapped from the file."""

    row_of: Mapping[str, int]

    @classmethod
    def filled(
        cls,
        path: Path,
        keys: Sequence[str],
        num_features: int,
        encode: Callable[[Sequence[str]], torch.Tensor],
        *,
        progress: Callable[[int], None] = lambda done: None,
    ) -> "FeatureTable":
        """Return the table of a file, after computing the rows that it lacks.

        Args:
            path: of the rows; beside it lies how many of them are computed.
            keys: all different, in an order that is the same whenever the table is filled.
            num_features: F.
            encode: keys to [n, F] features.
            progress: told how many more are there, those of earlier calls first.
        """
        counter = path.with_suffix(".done")
        num_done = int(counter.read_text()) if counter.exists() else 0
        path.parent.mkdir(parents=True, exist_ok=True)
        values_NF = np.lib.format.open_memmap(
            path,
            mode="r+" if num_done else "w+",
            dtype=np.float32,
            shape=None if num_done else (len(keys), num_features),
        )
        progress(num_done)
        for start in range(num_done, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            values_NF[start : start + len(chunk)] = encode(chunk).numpy()
            values_NF.flush()  # the rows first: one that is counted is there
            write_atomically(counter, str(start + len(chunk)))
            progress(len(chunk))
        return cls(values_NF, {key: row for row, key in enumerate(keys)})

    def at(self, rows: np.ndarray) -> torch.Tensor:
        """Return [n, F] the features of rows."""
        return torch.from_numpy(np.asarray(self.values_NF[rows]))

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [F] mean and [F] standard deviation of each feature."""
        total_F = squares_F = np.zeros(self.values_NF.shape[1])
        for start in range(0, len(self.values_NF), CHUNK):
            chunk_nF = self.values_NF[start : start + CHUNK].astype(np.float64)
            total_F = total_F + chunk_nF.sum(axis=0)
            squares_F = squares_F + (chunk_nF**2).sum(axis=0)
        mean_F = total_F / len(self.values_NF)
        variance_F = np.maximum(squares_F / len(self.values_NF) - mean_F**2, 0)
        return torch.from_numpy(mean_F).float(), torch.from_numpy(np.sqrt(variance_F)).float()
