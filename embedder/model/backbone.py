"""A Qwen3-VL model, in two ways: transformers' own forward, and a lean one to train and embed with.

Both have the same weights and, but for the order of float32 sums, the same states; see
`embedder.model.text_model` for what the lean one leaves out.

Shape legend:
  B = sequences in the batch, L = longest sequence, H = hidden size, A = places read per sequence,
  Y = layers, K = key-value heads, D = head size
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from embedder.model.text_model import TextModel
from embedder.model.vision_encoder import ImageFeatures, VisionEncoder
from embedder.prompting.inputs import Batch
from embedder.prompting.prompts import Prompts


class Backbone(torch.nn.Module):
    """Wraps `Qwen3VLForConditionalGeneration` (or a class with the same parts).

    Positions are always computed here and handed over: left to itself the model remembers those of
    the last batch that had images, and would use them for the next one that has none.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.text = TextModel(model.model.language_model)
        self.images = VisionEncoder(model.model.visual)

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

    def image_features(self, batch: Batch) -> dict[str, Any]:
        """The images of a batch, encoded; `states` takes it for batches with the same ones."""
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
        images: dict[str, Any] | None = None,
    ) -> torch.Tensor:
        """[B, L, H] hidden states after the final norm.

        Args:
            batch: left-padded sequences.
            images: from `image_features`; computed when not given.
        """
        if images is None:
            images = self.image_features(batch)
        return self.model.model(
            input_ids=batch.input_ids_BL,
            attention_mask=batch.attention_mask_BL,
            position_ids=self.positions(batch),
            mm_encoder_outputs=dict(images),
            use_cache=False,
        ).last_hidden_state

    def prefill(
        self,
        prompts: Prompts,
        read_BA: torch.Tensor,
        *,
        images: ImageFeatures | None = None,
        sees_BLL: torch.Tensor | None = None,
        past_Y2BKLD: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[B, A, H] states at the places that are read; see `TextModel.prefill`.

        `images` are the features of the prompts' images; computed when not given.
        """
        if images is None and prompts.patches_PV is not None:
            images = self.images.encode(prompts.patches_PV, prompts.grids)
        return self.text.prefill(
            prompts, images, read_BA, sees_BLL=sees_BLL, past_Y2BKLD=past_Y2BKLD
        )

    def logits(self, states: torch.Tensor, words: Sequence[int] | None = None) -> torch.Tensor:
        """Next-token logits of hidden states, of all tokens or of the given ones alone."""
        if words is None:
            return self.model.lm_head(states)
        return F.linear(states, self.model.lm_head.weight[list(words)])
