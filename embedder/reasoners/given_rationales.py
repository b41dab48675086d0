"""Reasoned embeddings from rationales that somebody else wrote.

The rationale takes the place of what the model would have generated, in the same template, and one
forward over prompt and rationale gives the vector: what `embedder.engine.gating` gives for a
rationale of its own, to 1e-5.

Shape legend: N = contents, H = hidden size
"""

from collections.abc import Sequence

import numpy as np
import torch

from embedder.content import Content, Side
from embedder.engine.batches import longest_first
from embedder.model.checkpoint import Checkpoint
from embedder.prompting.answers import rationale_answer
from embedder.reasoners.reasoner import Rationale


@torch.inference_mode()
def encode_with_rationales(
    checkpoint: Checkpoint,
    contents: Sequence[Content],
    rationales: Sequence[Rationale],
    *,
    side: Side,
    max_new_tokens: int | None = None,
    batch_size: int = 16,
) -> np.ndarray:
    """Encode contents together with rationales: [N, H] float32, L2-normalised.

    Args:
        checkpoint: the embedder.
        contents: queries or items.
        rationales: one each; cut to the version's `max_new_tokens`, the summary last.
        side: whose instruction of the version they are read with.
        max_new_tokens: cuts them shorter than the version would.
        batch_size: sequences of one forward; those of like length go together.

    Raises:
        catalog.images.check.ImageError: an image cannot be read.
    """
    inputs, backbone = checkpoint.inputs, checkpoint.backbone
    limit = checkpoint.manifest.max_new_tokens
    if max_new_tokens is not None:
        limit = min(limit, max_new_tokens)
    instruction = checkpoint.manifest.instruction(side)
    answers = [
        rationale_answer(inputs, rationale.text, rationale.summary, max_new_tokens=limit)
        for rationale in rationales
    ]
    samples = [
        inputs.sample(content, instruction).extended(tokens)
        for content, tokens in zip(contents, answers, strict=True)
    ]
    vectors_NH = np.empty((len(samples), checkpoint.hidden_size), np.float32)
    for rows in longest_first(samples, batch_size=batch_size):
        prompts = inputs.prompts([samples[row] for row in rows], device=backbone.device)
        vectors_NH[rows] = backbone.end_vectors(prompts).cpu().numpy()
    return vectors_NH
