"""Configuration of the heads over frozen encoders; free of torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadsConfig:
    """What is trained where a text encoder and an image encoder are left as they are."""

    hidden_size: int = 512
    """Of each head's one hidden layer."""

    dim: int = 256
    """Of the vectors of both heads."""

    prefixes: tuple[int, ...] = (64, 128)
    """Shorter prefixes of the vectors that are trained to be usable alone, ascending
    (Matryoshka)."""

    dropout: float = 0.1
    """Share of the hidden layer that a step leaves out, in [0, 1)."""

    num_epochs: int = 12
    """Each pair is learned from so often, unless `joint.num_steps` comes first."""

    def __post_init__(self) -> None:
        for name in ("hidden_size", "dim", "num_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"heads.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"heads.dropout must be in [0, 1), got {self.dropout}")
        if list(self.dims) != sorted({*self.dims}) or self.dims[0] < 1:
            raise ValueError(
                f"heads.prefixes must ascend from 1 to below heads.dim, {self.dim}, got "
                f"{self.prefixes}"
            )

    @property
    def dims(self) -> tuple[int, ...]:
        """The prefixes, and the whole vector last."""
        return (*self.prefixes, self.dim)
