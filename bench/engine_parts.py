"""Parts of the GPU engine, each of which can be left out to see what it is worth."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

from embedder.content import Policy
from embedder.model.decode_steps import PlainSteps
from embedder.model.text_model import TextModel


def _plain_steps(text: TextModel, *, num_slots: int, device: torch.device) -> PlainSteps:
    return PlainSteps(text, device=device)


@contextmanager
def _in_turn(device: torch.device) -> Iterator[list[torch.Tensor]]:
    yield []


PLACES: dict[str, tuple[str, Any]] = {
    "late_reading": ("embedder.mmemb_r1.GPU_UNREAD_BATCHES", 0),
    "side_stream": ("embedder.engine.gating.beside_work", _in_turn),
    "one_kernel_norm": ("embedder.model.rms_norm.is_one_kernel", lambda *_: False),
    "attention_by_lengths": ("embedder.model.decode_steps.length_kernel", lambda *_: None),
    "recorded_steps": ("embedder.engine.continuous_batch.decode_steps", _plain_steps),
}
"""Where a part is, and what takes its place."""

PARTS_OF: dict[Policy, tuple[str, ...]] = {
    "never": ("late_reading", "side_stream", "one_kernel_norm"),
    "always": ("one_kernel_norm", "attention_by_lengths", "recorded_steps"),
}


@contextmanager
def without(part: str | None) -> Iterator[None]:
    """Leave a part out of whatever is opened and run within."""
    if part is None:
        yield
        return
    with patch(*PLACES[part]):
        yield
