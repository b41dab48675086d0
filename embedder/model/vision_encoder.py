"""The vision encoder of a Qwen3-VL model, layer by layer, with equal images attended together.

transformers' own forward attends image by image, and multiplies the patches of all frames by
way of a 3-D convolution, which a CPU does at half the speed of the matrix product that it amounts
to. The frames of a still image are equal, so here their weights are summed and one of them is
multiplied. Where frames differ, as in a clip, how they differ is multiplied by the weights of the
later frames and added. The numbers are the same but for the order of float32 sums.

Shape legend:
  P = patches of all images, V = values of one patch, W = the encoder's width, T = image tokens,
  N = heads, H = hidden size of the text model, M = patches of clips,
  U = values of one patch, its frames after the first
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from embedder.prompting.prompts import Motion
from embedder.prompting.rotary import Grid
from embedder.prompting.transfer import on_device


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Encoded images, one after the other."""

    tokens_TH: torch.Tensor
    """What takes the place of the image tokens' embeddings."""

    deepstack: list[torch.Tensor]
    """[T, H] each: what is added to the image tokens after the first layers (DeepStack)."""


class VisionEncoder:
    """Encodes images with the `visual` part of a Qwen3-VL model."""

    def __init__(self, visual: Any) -> None:
        self._visual = visual

    def encode(
        self, patches_PV: torch.Tensor, grids: Sequence[Grid], motion: Motion | None = None
    ) -> ImageFeatures:
        """Encode images and clips.

        Args:
            patches_PV: normalised patches, one frame, in the order of the grids.
            grids: patches of each image, and of each moment of a clip, along time, height and
                width. Equal grids are fastest when they stand side by side.
            motion: how the patches of clips change; None: all are still.
        """
        visual = self._visual
        grid_thw = torch.tensor(list(grids))  # the host's: to be read there waits for no device
        states_PW = self._projected(patches_PV, motion)
        states_PW = states_PW + self._places(grid_thw).to(states_PW.dtype)
        places = get_vision_position_ids(grid_thw, visual.spatial_merge_size)
        rotary = visual.rotary_pos_emb(states_PW, on_device(places.numpy(), states_PW.device))
        deepstack: list[torch.Tensor] = []
        for number, block in enumerate(visual.blocks):
            states_PW = states_PW + _attend(block.attn, block.norm1(states_PW), rotary, grids)
            states_PW = states_PW + block.mlp(block.norm2(states_PW))
            if number in visual.deepstack_visual_indexes:
                merger = visual.deepstack_merger_list[len(deepstack)]
                deepstack.append(merger(states_PW))
        return ImageFeatures(visual.merger(states_PW), deepstack)

    def _projected(self, patches_PV: torch.Tensor, motion: Motion | None) -> torch.Tensor:
        """Return [P, W] patches as the encoder's first layer takes them."""
        projection = self._visual.patch_embed.proj
        weight_WV = projection.weight.sum(dim=2).flatten(1)
        states_PW = F.linear(patches_PV.to(weight_WV.dtype), weight_WV, projection.bias)
        if motion is None:
            return states_PW
        weight_WU = projection.weight[:, :, 1:].transpose(1, 2).flatten(1)
        change_MW = F.linear(motion.change_MU.to(weight_WU.dtype), weight_WU)
        return states_PW.index_add(0, motion.places_M, change_MW)

    def _places(self, grid_thw: torch.Tensor) -> torch.Tensor:
        """Return [P, W] the learned square of position embeddings, stretched over each image."""
        visual = self._visual
        index, weight = get_vision_interpolation_indices_and_weights(
            grid_thw,
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=visual.spatial_merge_size,
        )
        index, weight = (
            on_device(one.numpy(), visual.pos_embed.weight.device) for one in (index, weight)
        )
        return (visual.pos_embed(index) * weight[:, :, None]).sum(dim=1)


def _attend(
    attention: Any,
    states_PW: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    grids: Sequence[Grid],
) -> torch.Tensor:
    """Let every frame attend to itself, [P, W]; runs of images of one grid do so in one call."""
    num_patches = len(states_PW)
    query, key, value = (
        attention.qkv(states_PW).view(num_patches, 3, attention.num_heads, -1).unbind(dim=1)
    )
    query, key = apply_rotary_pos_emb_vision(query, key, *rotary)
    mixed_PW = torch.empty_like(states_PW)
    start = 0
    for (frames, height, width), run in itertools.groupby(grids):
        shape = (len(list(run)) * frames, height * width, attention.num_heads, -1)
        end = start + shape[0] * shape[1]
        run_query, run_key, run_value = (
            part[start:end].view(shape).transpose(1, 2) for part in (query, key, value)
        )
        mixed = F.scaled_dot_product_attention(
            run_query, run_key, run_value, scale=attention.scaling
        )
        mixed_PW[start:end] = mixed.transpose(1, 2).reshape(end - start, -1)
        start = end
    return attention.proj(mixed_PW)
