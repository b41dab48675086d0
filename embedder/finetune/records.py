"""What the parts of fine-tuning hand to each other; free of torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedder.content import Side

if TYPE_CHECKING:  # `pairs` needs torch
    from embedder.finetune.data.pairs import Pair


@dataclass(frozen=True, slots=True)
class GeneratedRationale:
    """A rationale that a worker wrote about one content, before anybody judged it."""

    key: str
    """Of the content (`embedder.reasoners.cache.content_key`)."""

    side: Side
    worker: str
    """Name of the reasoner that wrote it."""

    text: str
    summary: str
    num_tokens: int
    """Tokens that the worker generated; 0 when it does not say."""

    flags: frozenset[str] = frozenset()
    """What is wrong with it at first sight; see `embedder.finetune.rationales.filters`."""

    prompt_version: str = ""
    """How the worker was asked, its seed included."""


@dataclass(frozen=True, slots=True)
class WeightedRationale:
    """A rationale that may be trained on."""

    text: str
    summary: str

    weight: float = 1.0
    """Posterior weight among the paths of its side of its pair, where they sum to 1."""

    worker: str = ""


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A pair with what selection kept; a side without paths trains in direct mode only."""

    pair: "Pair"
    query_rationales: tuple[WeightedRationale, ...] = ()
    target_rationales: tuple[WeightedRationale, ...] = ()

    @property
    def source(self) -> str:
        """Where the pair comes from."""
        return self.pair.source
