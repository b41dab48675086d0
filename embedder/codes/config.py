"""What is decided before codes are learned."""

from dataclasses import dataclass
from typing import Literal

from catalog.lake.tables import MAX_CODE_LEVELS

MAX_CODES = 65_536

LearnerName = Literal["kmeans", "vae"]
"""Residual k-means of the vectors themselves, or an RQ-VAE (TIGER, arXiv 2305.05065)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodesConfig:
    """How codebooks are learned from a version's vectors."""

    learner: LearnerName = "kmeans"

    num_levels: int = 3
    """L, codes of an item, in [1, 8]; each level tells of what the ones before left over."""

    num_codes: int = 256
    """K, codes of each level, in [2, 65536]."""

    sample_items: int = 65_536
    """Items at most whose vectors are learned from, drawn among all: 256 for each of 256 codes."""

    rounds: int = 25
    """Of k-means at most; it ends when no vector changes its code."""

    seed: int = 0
    """Of all that is drawn."""

    latent_dim: int = 32
    """Of an RQ-VAE: numbers that are quantised."""

    hidden_sizes: tuple[int, ...] = (256, 128)
    """Of an RQ-VAE: layers of its encoder, and in reverse of its decoder."""

    steps: int = 4_000
    """Of an RQ-VAE's training, each on `batch_size` vectors."""

    batch_size: int = 512

    learning_rate: float = 1e-3
    """Peak of AdamW's; it falls to nothing by a cosine."""

    commitment: float = 0.25
    """Weight by which the encoder is drawn to the codes, beside 1 of codes to the encoder."""

    restart_steps: int = 100
    """A code that no vector took for so many steps is put where a vector is."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_levels <= MAX_CODE_LEVELS:
            raise ValueError(f"num_levels must be in [1, {MAX_CODE_LEVELS}], got {self.num_levels}")
        if not 2 <= self.num_codes <= MAX_CODES:
            raise ValueError(f"num_codes must be in [2, {MAX_CODES}], got {self.num_codes}")
        if self.sample_items < self.num_codes:
            raise ValueError(
                f"sample_items must be at least num_codes, {self.num_codes}, "
                f"got {self.sample_items}"
            )
        sizes = (self.rounds, self.latent_dim, self.steps, self.batch_size, self.restart_steps)
        if min(*sizes, *self.hidden_sizes) < 1:
            raise ValueError(
                "rounds, latent_dim, steps, batch_size, restart_steps and hidden_sizes must be "
                f"> 0, got {sizes} and {self.hidden_sizes}"
            )
        if not (self.learning_rate > 0 and self.commitment >= 0):
            raise ValueError(
                "learning_rate must be > 0 and commitment >= 0, got "
                f"{self.learning_rate} and {self.commitment}"
            )
