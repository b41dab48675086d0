"""Codebooks: what turns an item's vector into a few whole numbers, and these back into a vector.

The first code says in which part of the space a vector lies, the second where in that part, and so
on: codes that begin alike are of items that are alike. No torch is needed to read them, whoever
learned them.

Legend: N = vectors, D = their dimension, L = levels, K = codes of a level, C = dimension that is
quantised: D, or that of an encoder's latents.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from embedder.codes.config import CodesConfig

ROWS_AT_ONCE = 8_192
"""Vectors that are coded at once, in double precision."""

Layer = tuple[np.ndarray, np.ndarray]
"""Weight [out, in] and bias [out] of a linear map, float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What codebooks are of."""

    model_version: str
    """Whose vectors they were learned from; those of another version must not be coded."""

    config: CodesConfig

    @property
    def plain(self) -> dict[str, Any]:
        """The same as plain values."""
        return {"model_version": self.model_version, "config": asdict(self.config)}


@dataclass(frozen=True, eq=False)
class Codebooks:
    """Frozen centroids of every level; of an RQ-VAE with the encoder and the decoder."""

    of: Described

    centroids_LKC: np.ndarray
    """float32."""

    encoder: tuple[Layer, ...] = ()
    """From a vector to what is quantised, with ReLU between; none: the vector itself."""

    decoder: tuple[Layer, ...] = ()
    """And back."""

    @property
    def model_version(self) -> str:
        """Whose vectors they code."""
        return self.of.model_version

    @property
    def num_levels(self) -> int:
        """L."""
        return len(self.centroids_LKC)

    @property
    def num_codes(self) -> int:
        """K."""
        return self.centroids_LKC.shape[1]

    @property
    def dim(self) -> int:
        """D."""
        return self.encoder[0][0].shape[1] if self.encoder else self.centroids_LKC.shape[2]

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits that change with any number in it, the version and the config."""
        digest = hashlib.blake2b(json.dumps(self.of.plain, sort_keys=True).encode(), digest_size=8)
        for name, array in sorted(self.tensors().items()):
            digest.update(f"{name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return digest.hexdigest()

    def tensors(self) -> dict[str, np.ndarray]:
        """Return every array by its name in a file."""
        found = {"centroids": self.centroids_LKC}
        for side, layers in (("encoder", self.encoder), ("decoder", self.decoder)):
            for number, (weight, bias) in enumerate(layers):
                found |= {f"{side}.{number}.weight": weight, f"{side}.{number}.bias": bias}
        return found

    def assign(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Return [N, L] int32 codes: at each level the centroid nearest to what is left over.

        Of centroids that are equal the first is taken. In double precision, so that no item changes
        its codes with how many others are looked at.

        Raises:
            ValueError: vectors of another dimension, or that are not finite.
        """
        self._check(vectors_ND)
        codes_NL = np.empty((len(vectors_ND), self.num_levels), dtype=np.int32)
        for rows in _parts(len(vectors_ND)):
            left_NC = _through(self.encoder, vectors_ND[rows].astype(np.float64))
            for level, centroids_KC in enumerate(self._wide_LKC):
                apart_NK = self._square_LK[level] - 2 * (left_NC @ centroids_KC.T)
                code_N = self._first_LK[level][apart_NK.argmin(axis=1)]
                codes_NL[rows, level] = code_N
                left_NC -= centroids_KC[code_N]
        return codes_NL

    def decode(self, codes_NL: np.ndarray) -> np.ndarray:
        """Return [N, D] float32 the vectors that codes stand for; not normalised.

        Args:
            codes_NL: the first codes of each, of as many levels as there are or fewer.
        """
        vectors_ND = np.empty((len(codes_NL), self.dim), dtype=np.float32)
        for rows in _parts(len(codes_NL)):
            levels = enumerate(codes_NL[rows].T)
            sums = [self._wide_LKC[level][code_N] for level, code_N in levels]
            vectors_ND[rows] = _through(self.decoder, np.sum(sums, axis=0))
        return vectors_ND

    def _check(self, vectors_ND: np.ndarray) -> None:
        if vectors_ND.ndim != 2 or vectors_ND.shape[1] != self.dim:
            raise ValueError(
                f"vectors must have shape (N, {self.dim}), got {vectors_ND.shape}; these codes are "
                f"of version {self.model_version!r}"
            )
        if not np.isfinite(vectors_ND).all():
            raise ValueError("vectors must be finite, got others; embed the items again")

    @cached_property
    def _wide_LKC(self) -> np.ndarray:
        return self.centroids_LKC.astype(np.float64)

    @cached_property
    def _square_LK(self) -> np.ndarray:
        return np.einsum("lkc,lkc->lk", self._wide_LKC, self._wide_LKC)

    @cached_property
    def _first_LK(self) -> np.ndarray:
        """For each centroid the first that equals it: a product may not find equal ones equal."""
        found = []
        for centroids_KC in self._wide_LKC:
            _, first, number_K = np.unique(
                centroids_KC, axis=0, return_index=True, return_inverse=True
            )
            found.append(first[number_K.reshape(-1)])
        return np.stack(found)


def told(codes: Sequence[int]) -> str:
    """Return codes as people and filters read them.

    Example:
        >>> told([12, 200, 7])
        '12-200-7'
    """
    return "-".join(str(code) for code in codes)


def _through(layers: Sequence[Layer], inputs_N: np.ndarray) -> np.ndarray:
    """Return what a perceptron makes of rows, float64; a copy of them where it has no layers."""
    outputs_N = inputs_N.copy()
    for number, (weight, bias) in enumerate(layers):
        outputs_N = outputs_N @ weight.T.astype(np.float64) + bias
        if number < len(layers) - 1:
            np.maximum(outputs_N, 0, out=outputs_N)
    return outputs_N


def _parts(num_rows: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, num_rows, ROWS_AT_ONCE))
