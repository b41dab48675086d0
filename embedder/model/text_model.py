"""The text layers of a Qwen3-VL model, called one by one: prefill of prompts, steps of a decoding.

The forward of transformers makes masks, cache objects and outputs at every call and computes the
states of all tokens. Here the last layer is computed only where somebody reads it, batches need no
mask, and the cache is a plain tensor. Every number that is read equals that of the plain forward
but for the order of float32 sums; the tests hold this to 1e-5.

Shape legend:
  B = sequences in the batch, L = longest sequence, H = hidden size, A = places read per sequence,
  Y = layers with a cache, N = heads, K = key-value heads, D = head size, T = image tokens,
  R = busy slots, S = audio tokens, W = width of what is read: H, twice that with an embedding head
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from embedder.model.decode_attention import DecodeAttention, LengthKernel, decode_attention
from embedder.model.decoder_layer import Attend, Block, Rotary, decoder_layer
from embedder.model.embedding_head import EmbeddingHead
from embedder.model.kv_cache import SlotCache
from embedder.model.rms_norm import rms_norm
from embedder.model.vision_encoder import ImageFeatures
from embedder.prompting.prompts import Prompts


class Branch(NamedTuple):
    """Layers that end a forward."""

    blocks: Sequence[Block]
    norm: torch.nn.Module
    row: int
    """Of the first layer's keys and values in a cache."""


class TextModel:
    """Runs the `language_model` part of a Qwen3-VL model, and the embedding head beside it."""

    def __init__(self, language_model: Any, head: EmbeddingHead | None = None) -> None:
        """Wrap them.

        Args:
            language_model: the reasoner.
            head: reads the states that enter its last layers; None: there is none.
        """
        self._model, self._head = language_model, head

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are."""
        return self._model.dtype

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
        """Return [B, A, W] states after the final norm, at the places that are read.

        Behind the reasoner's own stand those of the embedding head, where there is one.

        Args:
            prompts: the batch.
            images: features of its images; None when it has none.
            read_BA: indices into each prompt.
            audio_SH: what takes the place of the audio tokens' embeddings; None when it has none.
            sees_BLL: True where the token of a row attends to the token of a column; None: every
                token sees what stands before it.
            past_Y2BKLD: filled with all keys ([:, 0]) and values ([:, 1]) when given.
        """

        def attend(row: int, read_BA: torch.Tensor | None = None) -> Attend:
            past = None if past_Y2BKLD is None else past_Y2BKLD[row]
            return _causal(past, read_BA, sees_BLL)

        states = self._embedded(prompts, images, audio_SH)
        rotary = self._rotary(states, prompts.positions_3BL)
        for row, block in enumerate(self._trunk()):
            states = block(states, rotary, attend(row))
            if images is not None and row < len(images.deepstack):
                flat = states.view(-1, states.shape[2])
                deep = images.deepstack[row].to(flat.dtype)
                flat.index_add_(0, prompts.image_places_T, deep)
        read = []
        for blocks, norm, row in self._branches():
            branch = states
            for number, block in enumerate(blocks[:-1], start=row):
                branch = block(branch, rotary, attend(number))
            last = attend(row + len(blocks) - 1, read_BA)
            read.append(rms_norm(norm, blocks[-1](branch, rotary, last, read_BA=read_BA)))
        return _beside(read)

    def step(
        self,
        input_ids_R: torch.Tensor,
        positions_R: torch.Tensor,
        cache: SlotCache,
        *,
        kernel: LengthKernel | None = None,
    ) -> torch.Tensor:
        """Return [R, W] states after the final norm of the token by which each slot has grown.

        Args:
            input_ids_R: the tokens.
            positions_R: their rotary positions.
            cache: what they attend to.
            kernel: how, by the slots' lengths; None: through a mask.
        """
        attention = decode_attention(cache, kernel)
        states = self._model.embed_tokens(input_ids_R)[:, None]
        rotary = self._rotary(states, positions_R[None, :, None].expand(3, -1, -1))
        for row, block in enumerate(self._trunk()):
            states = block(states, rotary, _cached(cache, row, attention))
        read = []
        for blocks, norm, row in self._branches():
            branch = states
            for number, block in enumerate(blocks, start=row):
                branch = block(branch, rotary, _cached(cache, number, attention))
            read.append(rms_norm(norm, branch)[:, 0])
        return _beside(read)

    @property
    def _fork(self) -> int:
        """The layer of the reasoner from which on a head goes its own way; without one the last."""
        return len(self._model.layers) - (self._head.config.num_layers if self._head else 1)

    def _trunk(self) -> list[Block]:
        return [partial(decoder_layer, layer) for layer in self._model.layers[: self._fork]]

    def _branches(self) -> list[Branch]:
        """Return the reasoner's last layers, and those of the head."""
        model, head = self._model, self._head
        own = [partial(decoder_layer, layer) for layer in model.layers[self._fork :]]
        branches = [Branch(own, model.norm, self._fork)]
        if head is not None:
            branches.append(Branch(head.blocks, head.norm, len(model.layers)))
        return branches

    def _embedded(
        self, prompts: Prompts, images: ImageFeatures | None, audio_SH: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the [B, L, H] states that enter the first layer."""
        states = self._model.embed_tokens(prompts.input_ids_BL)
        flat = states.view(-1, states.shape[2])
        if images is not None:
            flat[prompts.image_places_T] = images.tokens_TH.to(flat.dtype)
        if audio_SH is not None:
            flat[prompts.audio_places_S] = audio_SH.to(flat.dtype)
        return states

    def _rotary(self, states: torch.Tensor, positions_3BL: torch.Tensor) -> Rotary:
        cosine, sine = self._model.rotary_emb(states, positions_3BL)
        half = sine.shape[2] // 2
        return cosine, torch.cat((-sine[..., :half], sine[..., half:]), dim=2)

    def empty_past(self, prompts: Prompts) -> torch.Tensor:
        """Return [Y, 2, B, K, L, D] room for what `prefill` is to keep of the batch."""
        attention = self._model.layers[0].self_attn
        batch, length = prompts.input_ids_BL.shape
        heads = attention.k_proj.out_features // attention.head_dim
        layers = len(self._model.layers) + (len(self._head.blocks) if self._head else 0)
        shape = (layers, 2, batch, heads, length, attention.head_dim)
        return torch.empty(shape, dtype=self._model.dtype, device=prompts.input_ids_BL.device)


def _beside(states: Sequence[torch.Tensor]) -> torch.Tensor:
    return states[0] if len(states) == 1 else torch.cat(list(states), dim=-1)


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
