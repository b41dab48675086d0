"""Transformers' own forward over left-padded sequences, which the product's own is held against.

Shape legend: B = sequences in the batch, L = longest sequence, H = hidden size
"""

from collections.abc import Sequence

import torch

from embedder.model.backbone import Backbone
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample


def plain_states(backbone: Backbone, inputs: Inputs, samples: Sequence[Sample]) -> torch.Tensor:
    """Return the [B, L, H] hidden states after the final norm."""
    batch, model = inputs.batch(samples), backbone.model.model
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
