"""Embedding heads: one model that reasons, and beside its last layers a head that embeds.

TTE_u of Think-Then-Embed (arXiv 2510.05014) freezes a model that has learnt to reason and trains a
head on the hidden states that it has while it writes. Of the heads that were compared there, two
are built here: the best one, layers that start as copies of the reasoner's last ones and read what
these read, and the lightest, attention that pools all states. Reading causally is our choice, for
the head's keys and values then lie in the cache beside the reasoner's, and what is written is read
as it is written; so are the pooler's normalised input and that its query starts as zero.

Shape legend:
  B = sequences in the batch, L = longest sequence, H = hidden size, N = heads, D = head size
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from embedder.head_config import CONFIG_KEY, EmbeddingHeadConfig
from embedder.model.decoder_layer import Attend, Block, Rotary, decoder_layer
from embedder.model.rms_norm import rms_norm

WEIGHTS = "embedding_head.safetensors"
"""File of a checkpoint's folder."""


class EmbeddingHead(torch.nn.Module, ABC):
    """Reads the states that enter a reasoner's last layers; its own may be any `Block`s."""

    def __init__(self, config: EmbeddingHeadConfig, network: Any) -> None:
        """Start from the reasoner's weights, of which it keeps copies.

        Args:
            config: how it is built.
            network: the reasoner, a `Qwen3VLForConditionalGeneration` or a class with the same
                parts.

        Raises:
            ValueError: it would read states that images are still to be added to.
        """
        super().__init__()
        self.config = config
        text = network.model.language_model
        # DeepStack adds image features behind the first layers.
        most = len(text.layers) - len(network.model.visual.deepstack_visual_indexes)
        if config.num_layers > most:
            raise ValueError(
                f"{CONFIG_KEY}.num_layers must be at most {most}, for images are added to the "
                f"states before, got {config.num_layers}"
            )
        self.norm = copy.deepcopy(text.norm)

    @property
    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """Its layers, the first of which reads the reasoner's states."""


class LayersHead(EmbeddingHead):
    """Decoder layers of its own; before any training its vectors are those of the reasoner."""

    def __init__(self, config: EmbeddingHeadConfig, network: Any) -> None:
        """See `EmbeddingHead`."""
        super().__init__(config, network)
        last = network.model.language_model.layers[-config.num_layers :]
        self.layers = torch.nn.ModuleList(copy.deepcopy(layer) for layer in last)

    @property
    def blocks(self) -> Sequence[Block]:
        """See `EmbeddingHead`."""
        return [partial(decoder_layer, layer) for layer in self.layers]


class PoolerHead(EmbeddingHead):
    """Attention of one learnt query; before any training it is the mean of all states so far."""

    def __init__(self, config: EmbeddingHeadConfig, network: Any) -> None:
        """See `EmbeddingHead`."""
        super().__init__(config, network)
        layer = network.model.language_model.layers[-1]
        attention = layer.self_attn
        self.head_dim: int = attention.head_dim
        self.input_norm = copy.deepcopy(layer.input_layernorm)
        self.k_proj = copy.deepcopy(attention.k_proj)
        self.k_norm = copy.deepcopy(attention.k_norm)
        self.v_proj = copy.deepcopy(attention.v_proj)
        self.o_proj = copy.deepcopy(attention.o_proj)
        num_heads = attention.q_proj.out_features // self.head_dim
        weight = attention.k_proj.weight
        self.query_ND = torch.nn.Parameter(weight.new_zeros(num_heads, self.head_dim))

    @property
    def blocks(self) -> Sequence[Block]:
        """See `EmbeddingHead`."""
        return [self._pool]

    def _pool(
        self,
        states_BLH: torch.Tensor,
        rotary: Rotary,
        attend: Attend,
        *,
        read_BA: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what is pooled up to each place; where a state stands does not count."""
        normed = rms_norm(self.input_norm, states_BLH)
        split = (*normed.shape[:2], -1, self.head_dim)
        key = rms_norm(self.k_norm, self.k_proj(normed).view(split)).transpose(1, 2)
        value = self.v_proj(normed).view(split).transpose(1, 2)
        num_places = normed.shape[1] if read_BA is None else read_BA.shape[1]
        query = self.query_ND[None, :, None].expand(len(normed), -1, num_places, -1)
        # Under autocast keys and values come in half precision, whatever the query is in.
        mixed = attend(query.to(key.dtype), key, value)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


KINDS: dict[str, type[EmbeddingHead]] = {"layers": LayersHead, "pooler": PoolerHead}


def new_embedding_head(config: EmbeddingHeadConfig, network: Any) -> EmbeddingHead:
    """Return a head that has learnt nothing; arguments and errors as of `EmbeddingHead`."""
    return KINDS[config.kind](config, network).eval().requires_grad_(False)


def load_embedding_head(folder: Path, config: EmbeddingHeadConfig, network: Any) -> EmbeddingHead:
    """Return a checkpoint's embedding head, where its reasoner is and in its precision.

    Args:
        folder: of the checkpoint.
        config: of its `config.json`.
        network: its reasoner.

    Raises:
        FileNotFoundError: the folder has no weights of one.
    """
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(
            f"{folder} must hold {WEIGHTS}, for its config.json tells of an embedding head"
        )
    head = new_embedding_head(config, network)
    head.load_state_dict(load_file(folder / WEIGHTS))
    return head


def save_embedding_head(head: EmbeddingHead, folder: Path) -> None:
    """Write the weights of an embedding head into a checkpoint's folder."""
    weights = {name: tensor.contiguous() for name, tensor in head.state_dict().items()}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
