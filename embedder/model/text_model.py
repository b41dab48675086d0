"""The text layers of a Qwen3-VL model, called one by one: prefill of prompts, steps of a decoding.

The forward of transformers makes masks, cache objects and outputs at every call and computes the
states of all tokens. Here the last layer is computed only where somebody reads it, batches need no
mask, and the cache is a plain tensor. Every number that is read equals that of the plain forward
but for the order of float32 sums; the tests hold this to 1e-5.

Shape legend:
  B = sequences in the batch, L = longest sequence, H = hidden size, A = places read per sequence,
  Y = layers, N = heads, K = key-value heads, D = head size, T = image tokens, R = busy slots,
  S = audio tokens
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from embedder.model.decode_attention import DecodeAttention, LengthKernel, decode_attention
from embedder.model.kv_cache import SlotCache
from embedder.model.vision_encoder import ImageFeatures
from embedder.prompting.prompts import Prompts

Rotary = tuple[torch.Tensor, torch.Tensor]
"""[B, L, D] cosines and sines of the places; the first half of the sines is negated."""

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""[B, N, places, D] of queries [B, N, places, D], keys and values [B, K, L, D]."""


class TextModel:
    """Runs the `language_model` part of a Qwen3-VL model."""

    def __init__(self, language_model: Any) -> None:
        self._model = language_model

    def prefill(
        self,
        prompts: Prompts,
        images: ImageFeatures | None,
        read_BA: torch.Tensor,
        *,
        audio_SH: torch.Tensor | None = None,
        sees_BLL: torch.Tensor | None = None,
        past_Y2BKLD: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return [B, A, H] states after the final norm, at the places that are read.

        Args:
            prompts: the batch.
            images: features of its images; None when it has none.
            read_BA: indices into each prompt.
            audio_SH: what takes the place of the audio tokens' embeddings; None when it has none.
            sees_BLL: True where the token of a row attends to the token of a column; None: every
                token sees what stands before it.
            past_Y2BKLD: filled with all keys ([:, 0]) and values ([:, 1]) when given.
        """
        model = self._model
        states = model.embed_tokens(prompts.input_ids_BL)
        flat = states.view(-1, states.shape[2])
        if images is not None:
            flat[prompts.image_places_T] = images.tokens_TH.to(flat.dtype)
        if audio_SH is not None:
            flat[prompts.audio_places_S] = audio_SH.to(flat.dtype)
        rotary = self._rotary(states, prompts.positions_3BL)
        last = len(model.layers) - 1
        for number, layer in enumerate(model.layers):
            past = None if past_Y2BKLD is None else past_Y2BKLD[number]
            read = read_BA if number == last else None
            states = _block(layer, states, rotary, _causal(past, read, sees_BLL), read=read)
            if images is not None and number < len(images.deepstack):
                flat = states.view(-1, states.shape[2])
                deep = images.deepstack[number].to(flat.dtype)
                flat.index_add_(0, prompts.image_places_T, deep)
        return model.norm(states)

    def step(
        self,
        input_ids_R: torch.Tensor,
        positions_R: torch.Tensor,
        cache: SlotCache,
        *,
        kernel: LengthKernel | None = None,
    ) -> torch.Tensor:
        """Return [R, H] states after the final norm of the token by which each slot has grown.

        Args:
            input_ids_R: the tokens.
            positions_R: their rotary positions.
            cache: what they attend to.
            kernel: how, by the slots' lengths; None: through a mask.
        """
        model = self._model
        attention = decode_attention(cache, kernel)
        states = model.embed_tokens(input_ids_R)[:, None]
        rotary = self._rotary(states, positions_R[None, :, None].expand(3, -1, -1))
        for number, layer in enumerate(model.layers):
            states = _block(layer, states, rotary, _cached(cache, number, attention))
        return model.norm(states)[:, 0]

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are."""
        return self._model.dtype

    def _rotary(self, states: torch.Tensor, positions_3BL: torch.Tensor) -> Rotary:
        cosine, sine = self._model.rotary_emb(states, positions_3BL)
        half = sine.shape[2] // 2
        return cosine, torch.cat((-sine[..., :half], sine[..., half:]), dim=2)

    def empty_past(self, prompts: Prompts) -> torch.Tensor:
        """Return [Y, 2, B, K, L, D] room for what `prefill` is to keep of the batch."""
        attention = self._model.layers[0].self_attn
        batch, length = prompts.input_ids_BL.shape
        heads = attention.k_proj.out_features // attention.head_dim
        shape = (len(self._model.layers), 2, batch, heads, length, attention.head_dim)
        return torch.empty(shape, dtype=self._model.dtype, device=prompts.input_ids_BL.device)


def _block(
    layer: Any,
    states: torch.Tensor,
    rotary: Rotary,
    attend: Attend,
    *,
    read: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the states behind a layer; with `read`, those of these places alone."""
    attention = layer.self_attn
    normed = layer.input_layernorm(states)
    split = (*normed.shape[:2], -1, attention.head_dim)
    key = _rotate(attention.k_norm(attention.k_proj(normed).view(split)), rotary)
    value = attention.v_proj(normed).view(split).transpose(1, 2)
    if read is not None:
        states, normed = _pick(states, read), _pick(normed, read)
        rotary = (_pick(rotary[0], read), _pick(rotary[1], read))
    split = (*normed.shape[:2], -1, attention.head_dim)
    query = _rotate(attention.q_norm(attention.q_proj(normed).view(split)), rotary)
    mixed = attend(query, key, value).transpose(1, 2).flatten(2)
    states = states + attention.o_proj(mixed)
    return states + layer.mlp(layer.post_attention_layernorm(states))


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


def _causal(
    past_2BKLD: torch.Tensor | None,
    read_BA: torch.Tensor | None,
    sees_BLL: torch.Tensor | None,
) -> Attend:
    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if past_2BKLD is not None:
            past_2BKLD[0], past_2BKLD[1] = key, value
        if read_BA is None and sees_BLL is None:
            return F.scaled_dot_product_attention(
                query, key, value, is_causal=True, enable_gqa=True
            )
        mask = _seen(read_BA, sees_BLL, num_places=key.shape[2])[:, None]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)

    return attend


def _seen(
    read_BA: torch.Tensor | None, sees_BLL: torch.Tensor | None, *, num_places: int
) -> torch.Tensor:
    """Return [B, A or L, L] what the tokens that are read attend to; one of the two is given."""
    if read_BA is None:
        assert sees_BLL is not None
        return sees_BLL
    if sees_BLL is None:
        return torch.arange(num_places, device=read_BA.device) <= read_BA[:, :, None]
    return sees_BLL.gather(1, read_BA[:, :, None].expand(-1, -1, num_places))


def _cached(cache: SlotCache, layer: int, attention: DecodeAttention) -> Attend:
    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        keys, values = cache.write(layer, key[:, :, 0], value[:, :, 0])
        # The query heads of one key-value head stand in for places, so nothing is repeated.
        packed = query.reshape(len(query), keys.shape[1], -1, query.shape[3])
        return attention(packed, keys, values).reshape(query.shape)

    return attend
