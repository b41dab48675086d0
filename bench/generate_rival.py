"""Reasoning by transformers' `generate` and a second forward, as the product is held against it."""

import numpy as np
import torch
import torch.nn.functional as F
from plain_transformers import generated, plain_states

from embedder.content import Content
from embedder.model.checkpoint import Checkpoint
from embedder.prompting.sample import Sample

Reasoned = dict[int, tuple[list[int], np.ndarray]]
"""Generated tokens and vector by row."""


def asked_to_reason(
    checkpoint: Checkpoint, contents: list[Content], instruction: str
) -> list[Sample]:
    """Return the prompts of contents up to and with the gate token."""
    inputs = checkpoint.inputs
    return [
        inputs.sample(content, instruction).extended([inputs.reason_id]) for content in contents
    ]


@torch.inference_mode()
def generate_then_forward(
    checkpoint: Checkpoint, samples: list[Sample], *, batch_size: int
) -> Reasoned:
    """Reason as the rival: rationales by `generate`, vectors by a forward over everything."""
    inputs = checkpoint.inputs
    order = sorted(range(len(samples)), key=lambda row: len(samples[row]))
    found: Reasoned = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        answers = generated(checkpoint, [samples[row] for row in rows])
        whole = [samples[row].extended(answer) for row, answer in zip(rows, answers, strict=True)]
        states = plain_states(checkpoint.backbone, inputs, whole)[:, -1]
        vectors = F.normalize(states.float(), dim=-1).cpu().numpy()
        found |= dict(zip(rows, zip(answers, vectors, strict=True), strict=True))
    return found
