"""A Qwen-VL model seen as two things: hidden states of a batch, and states of what follows it.

Shape legend:
  B = sequences in the batch, L = longest sequence, H = hidden size, T = new tokens a sequence
"""

from typing import Any

import torch
from transformers import DynamicCache

from embedder.inputs import Batch


class Backbone(torch.nn.Module):
    """Wraps `Qwen3VLForConditionalGeneration` (or a class with the same parts).

    Positions are always computed here and handed over: left to itself the model remembers those of
    the last batch that had pictures, and would use them for the next one that has none.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def positions(self, batch: Batch) -> torch.Tensor:
        """[3, B, L] rotary positions along time, height and width."""
        position_ids, _ = self.model.model.get_rope_index(
            batch.input_ids_BL,
            mm_token_type_ids=batch.image_mask_BL,
            image_grid_thw=batch.grids,
            attention_mask=batch.attention_mask_BL,
        )
        return position_ids

    def picture_features(self, batch: Batch) -> dict[str, Any]:
        """The pictures of a batch, encoded; `states` takes it for batches with the same ones."""
        if batch.patches_PV is None:
            return {}
        patches = batch.patches_PV.to(self.model.dtype)
        return {
            "image": self.model.model.get_image_features(patches, batch.grids, return_dict=True)
        }

    def states(
        self,
        batch: Batch,
        *,
        pictures: dict[str, Any] | None = None,
        cache: DynamicCache | None = None,
    ) -> torch.Tensor:
        """[B, L, H] hidden states after the final norm.

        Args:
            batch: left-padded sequences.
            pictures: from `picture_features`; computed when not given.
            cache: filled with the keys and values of the batch, so that `extend` can go on.
        """
        if pictures is None:
            pictures = self.picture_features(batch)
        return self.model.model(
            input_ids=batch.input_ids_BL,
            attention_mask=batch.attention_mask_BL,
            position_ids=self.positions(batch),
            mm_encoder_outputs=dict(pictures),
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state

    def extend(
        self,
        input_ids_BT: torch.Tensor,
        *,
        cache: DynamicCache,
        attention_mask_BL: torch.Tensor,
        next_position_B: torch.Tensor,
    ) -> torch.Tensor:
        """[B, T, H] hidden states of tokens that follow what the cache holds.

        Args:
            input_ids_BT: the new tokens.
            cache: grows by T.
            attention_mask_BL: over cache and new tokens together.
            next_position_B: position of the first new token of each sequence.
        """
        steps = torch.arange(input_ids_BT.shape[1], device=input_ids_BT.device)
        position_ids = (next_position_B[:, None] + steps).expand(3, -1, -1)
        return self.model.model(
            input_ids=input_ids_BT,
            attention_mask=attention_mask_BL,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Next-token logits of hidden states."""
        return self.model.lm_head(states)
