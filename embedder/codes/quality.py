"""How good codes are: what vectors lose by them, and how evenly and singly they are given out.

Legend: N = vectors or items, D = dimension, L = levels, K = codes of a level.
"""

from dataclasses import dataclass

import numpy as np

from embedder.codes.codebooks import Codebooks


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """What is left of vectors that are decoded from their codes."""

    num_vectors: int

    held_out: bool
    """Whether they are others than those that were learned from."""

    cosine: float
    """Mean cosine of a vector with what its codes decode to, in [-1, 1]; 1 = nothing is lost."""

    relative_error: float
    """Squared distances between the two, by those of the vectors from their mean: 0 = nothing is
    lost, 1 = as much as if all were decoded to the mean."""

    error_by_level: tuple[float, ...]
    """The relative error with the first code alone, with the first two, and so on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeUse:
    """How the codes of items are spread."""

    num_items: int

    used: tuple[float, ...]
    """Share of the K codes that some item has, by level."""

    entropy: tuple[float, ...]
    """Of the codes given out, by level, as a share of what K even ones would have: 1 = even."""

    prefixes: tuple[int, ...]
    """How many different first codes, first two codes... items have."""

    shared: float
    """Share of the items all of whose codes another item has too; the last digit tells them
    apart."""

    largest_group: int
    """Items of the codes that most items share; 1 = none are shared."""


def reconstruction(
    codebooks: Codebooks, vectors_ND: np.ndarray, *, held_out: bool
) -> Reconstruction:
    """Measure what is lost of vectors; at least one, and not all the same."""
    codes_NL = codebooks.assign(vectors_ND)
    wide_ND = vectors_ND.astype(np.float64)
    spread = float(((wide_ND - wide_ND.mean(axis=0)) ** 2).sum())
    errors = []
    decoded_ND = np.zeros_like(wide_ND)
    for level in range(codebooks.num_levels):
        decoded_ND = codebooks.decode(codes_NL[:, : level + 1]).astype(np.float64)
        errors.append(float(((wide_ND - decoded_ND) ** 2).sum()) / max(spread, 1e-12))
    lengths_N = np.linalg.norm(wide_ND, axis=1) * np.linalg.norm(decoded_ND, axis=1)
    cosine_N = np.einsum("nd,nd->n", wide_ND, decoded_ND) / np.maximum(lengths_N, 1e-12)
    return Reconstruction(
        num_vectors=len(vectors_ND),
        held_out=held_out,
        cosine=float(cosine_N.mean()),
        relative_error=errors[-1],
        error_by_level=tuple(errors),
    )


def code_use(codes_NL: np.ndarray, *, num_codes: int) -> CodeUse:
    """Count how the codes of items are spread; of no items everything is 0."""
    num_items, num_levels = codes_NL.shape
    if not num_items:
        nothing = (0.0,) * num_levels
        none = (0,) * num_levels
        return CodeUse(
            num_items=0, used=nothing, entropy=nothing, prefixes=none, shared=0.0, largest_group=0
        )
    counts = [np.bincount(code_N, minlength=num_codes) for code_N in codes_NL.T]
    groups = [_group_sizes(codes_NL[:, : level + 1]) for level in range(num_levels)]
    sizes = groups[-1]
    return CodeUse(
        num_items=num_items,
        used=tuple(float((count_K > 0).mean()) for count_K in counts),
        entropy=tuple(_entropy(count_K) / float(np.log(num_codes)) for count_K in counts),
        prefixes=tuple(len(group) for group in groups),
        shared=float(sizes[sizes > 1].sum() / num_items),
        largest_group=int(sizes.max()),
    )


def _entropy(count_K: np.ndarray) -> float:
    share_K = count_K[count_K > 0] / count_K.sum()
    return float(-(share_K * np.log(share_K)).sum())


def _group_sizes(codes_NL: np.ndarray) -> np.ndarray:
    """Return how many rows share each of the different ones."""
    return np.unique(codes_NL, axis=0, return_counts=True)[1]
