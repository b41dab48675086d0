"""Objectives that a step may learn beside the joint loss, from items of their own.

Shape legend: N = items of a step, D = embedding dimension
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.forward import PromptWithAnswers
from embedder.finetune.training.gradient_cache import Losses, cached_backward
from embedder.prompting.answers import direct_answer
from embedder.version import Manifest


class ItemObjective(Protocol):
    """Losses on direct embeddings of items; all of it depends on the step and the weights alone."""

    @property
    def source(self) -> str:
        """The items are read with the item instruction of this source."""
        ...

    @property
    def gate_weight(self) -> float:
        """Weight of the loss that teaches the gate to answer directly under that instruction."""
        ...

    def contents_at(self, step: int) -> Sequence[Content]:
        """Return the items of a step, each once."""
        ...

    def losses(self, step: int, item_ND: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return weighted losses by name, on the embeddings of these items in their order."""
        ...


def backward(
    objective: ItemObjective,
    step: int,
    model: CachedForward,
    manifest: Manifest,
    *,
    chunk_size: int | None = None,
    processes: Processes | None = None,
) -> dict[str, float]:
    """Add the objective's gradients of a step to the parameters', and return its losses.

    The loss of the gate is among them, as `<source>_gate`.

    Args:
        objective: what to learn.
        step: from 0.
        model: reads with the model that learns.
        manifest: knows the instruction of the objective's source.
        chunk_size: items that are computed with a graph at once; None: all.
        processes: the processes that share the items; None: this one alone.
    """
    instruction = manifest.for_source(objective.source).item_instruction
    contents = objective.contents_at(step)
    answers = (direct_answer(model.inputs),)

    def forward(chunk: Sequence[Content], with_losses: bool) -> tuple[torch.Tensor, Losses]:
        prompted = [
            PromptWithAnswers(model.sample(content, instruction), answers) for content in chunk
        ]
        output = model.forward(prompted, with_tokens=False)
        wanted = torch.zeros(len(chunk), dtype=torch.long, device=output.gate_B2.device)
        surprise = F.cross_entropy(output.gate_B2, wanted, reduction="sum") / len(contents)
        gate = {f"{objective.source}_gate": objective.gate_weight * surprise}
        return output.vectors_NH[:, None], gate if with_losses else {}

    return cached_backward(
        contents,
        forward,
        lambda vectors_N1D: objective.losses(step, vectors_N1D[:, 0]),
        chunk_size=chunk_size,
        processes=processes or Processes(),
    )
