"""One decoder layer of a Qwen3-VL text model, called by itself.

Shape legend:
  B = sequences in the batch, L = longest sequence, H = hidden size, A = places read per sequence,
  N = heads, K = key-value heads, D = head size
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch

from embedder.model.rms_norm import rms_norm

Rotary = tuple[torch.Tensor, torch.Tensor]
"""[B, L, D] cosines and sines of the places; the first half of the sines is negated."""

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""[B, N, places, D] of queries [B, N, places, D], keys and values [B, K, L, D]."""


class Block(Protocol):
    """A layer, whatever it is made of."""

    def __call__(
        self,
        states_BLH: torch.Tensor,
        rotary: Rotary,
        attend: Attend,
        *,
        read_BA: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the states behind the layer; with `read_BA`, those of these places alone."""
        ...


def decoder_layer(
    layer: Any,
    states: torch.Tensor,
    rotary: Rotary,
    attend: Attend,
    *,
    read_BA: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the states behind a layer of transformers' own; bound to one it is a `Block`."""
    attention = layer.self_attn
    normed = rms_norm(layer.input_layernorm, states)
    split = (*normed.shape[:2], -1, attention.head_dim)
    key = _rotate(rms_norm(attention.k_norm, attention.k_proj(normed).view(split)), rotary)
    value = attention.v_proj(normed).view(split).transpose(1, 2)
    if read_BA is not None:
        states, normed = _pick(states, read_BA), _pick(normed, read_BA)
        rotary = (_pick(rotary[0], read_BA), _pick(rotary[1], read_BA))
    split = (*normed.shape[:2], -1, attention.head_dim)
    query = _rotate(rms_norm(attention.q_norm, attention.q_proj(normed).view(split)), rotary)
    mixed = attend(query, key, value).transpose(1, 2).flatten(2)
    states = states + attention.o_proj(mixed)
    return states + layer.mlp(rms_norm(layer.post_attention_layernorm, states))


def _rotate(split_BLND: torch.Tensor, rotary: Rotary) -> torch.Tensor:
    """Return [B, N, L, D] the heads turned by their places.

    The halves of a head change places by a roll, and the sign of the first is in the sines: half
    the passes over memory that transformers makes.
    """
    cosine, sine = rotary[0][:, :, None], rotary[1][:, :, None]
    half = split_BLND.shape[3] // 2
    turned = torch.addcmul(split_BLND * cosine, split_BLND.roll(half, dims=-1), sine)
    return turned.transpose(1, 2)


def _pick(states: torch.Tensor, read_BA: torch.Tensor) -> torch.Tensor:
    return states.gather(1, read_BA[:, :, None].expand(-1, -1, states.shape[2]))
