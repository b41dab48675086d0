"""What an embedding head is built like."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from embedder.config_section import told_section

CONFIG_KEY = "embedding_head"
"""Of a checkpoint's `config.json`; checkpoints without it read vectors where they reason."""

HeadKind = Literal["layers", "pooler"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingHeadConfig:
    """A head that makes vectors of a reasoner's hidden states."""

    kind: HeadKind = "layers"
    """`layers`: decoder layers of its own, which start as copies of the reasoner's last ones.
    `pooler`: attention with one learnt query."""

    num_layers: int = 2
    """It reads the states that enter the reasoner's last layers, so many of them; a head of kind
    `layers` has as many of its own."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(HeadKind):
            kinds = " or ".join(get_args(HeadKind))
            raise ValueError(f"{CONFIG_KEY}.kind must be {kinds}, got {self.kind!r}")
        if not isinstance(self.num_layers, int) or self.num_layers < 1:
            raise ValueError(
                f"{CONFIG_KEY}.num_layers must be a whole number from 1 on, got {self.num_layers!r}"
            )

    def as_json(self) -> dict[str, Any]:
        """Return it as `config.json` keeps it."""
        return asdict(self)

    @classmethod
    def told(cls, values: Mapping[str, Any] | None) -> "EmbeddingHeadConfig | None":
        """Return what `config.json` tells under `CONFIG_KEY`; None where that is nothing.

        Raises:
            ValueError: a key is not known, or a value out of range.
        """
        return told_section(cls, CONFIG_KEY, values)
