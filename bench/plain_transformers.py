"""Transformers' own forward over left-padded sequences, which the product's own is held against.

Shape legend: B = sequences in the batch, L = longest sequence, H = hidden size
"""

from collections.abc import Sequence

import torch

from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample


def plain_states(backbone: Backbone, inputs: Inputs, samples: Sequence[Sample]) -> torch.Tensor:
    """Return the [B, L, H] hidden states after the final norm."""
    batch, model = inputs.batch(samples).to(backbone.device), backbone.model.model
    # Left to itself the model goes on with the positions of the last batch that had images.
    positions, _ = model.get_rope_index(
        batch.input_ids_BL,
        mm_token_type_ids=batch.image_mask_BL,
        image_grid_thw=batch.grids,
        attention_mask=batch.attention_mask_BL,
    )
    return model(
        input_ids=batch.input_ids_BL,
        attention_mask=batch.attention_mask_BL,
        position_ids=positions,
        mm_token_type_ids=batch.image_mask_BL,
        pixel_values=batch.patches_PV,
        image_grid_thw=batch.grids,
        use_cache=False,
    ).last_hidden_state


@torch.inference_mode()
def generated(
    checkpoint: Checkpoint, samples: Sequence[Sample], *, max_new_tokens: int | None = None
) -> list[list[int]]:
    """Return what `generate` answers, up to and with the embedding token.

    Args:
        checkpoint: the model.
        samples: prompts up to and with the gate token.
        max_new_tokens: of an answer, where that is less than the version's own limit.
    """
    inputs, limit = checkpoint.inputs, checkpoint.manifest.max_new_tokens
    limit = limit if max_new_tokens is None else min(limit, max_new_tokens)
    batch = inputs.batch(samples).to(checkpoint.backbone.device)
    images = {}
    if batch.patches_PV is not None:
        images = {"pixel_values": batch.patches_PV, "image_grid_thw": batch.grids}
    tokens = checkpoint.backbone.model.generate(
        input_ids=batch.input_ids_BL,
        attention_mask=batch.attention_mask_BL,
        mm_token_type_ids=batch.image_mask_BL,
        **images,
        max_new_tokens=limit - 1,
        do_sample=False,
        eos_token_id=inputs.emb_id,
        pad_token_id=inputs.tokenizer.pad_token_id,
        suppress_tokens=inputs.forbidden_ids,
    )
    answers = []
    for answer in tokens[:, batch.input_ids_BL.shape[1] :].tolist():
        end = answer.index(inputs.emb_id) if inputs.emb_id in answer else len(answer)
        answers.append([*answer[:end], inputs.emb_id])
    return answers
