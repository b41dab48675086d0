"""A Qwen3-VL model with the one forward that everything is encoded, trained and judged with.

It has the weights of transformers' model and, but for the order of float32 sums, its states; see
`embedder.model.text_model` for what it leaves out of transformers' own forward.

Shape legend:
  B = sequences in the batch, L = longest sequence, H = hidden size, A = places read per sequence,
  Y = layers with a cache, K = key-value heads, D = head size, W = width of what is read: H, twice
  that with an embedding head
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from embedder.model.attention_kernels import unplanned_attention
from embedder.model.audio_encoder import AudioEncoder
from embedder.model.embedding_head import EmbeddingHead
from embedder.model.omni_audio import OmniAudio
from embedder.model.text_model import TextModel
from embedder.model.vision_encoder import ImageFeatures, VisionEncoder
from embedder.prompting.prompts import Prompts
from embedder.version import Readout

READ_BACK: Mapping[Readout, tuple[int, ...]] = {"at": (1,), "before": (2,), "mean": (2, 1)}
"""The tokens of an answer whose mean state is its vector, counted back from its end."""


class Backbone(torch.nn.Module):
    """Wraps `Qwen3VLForConditionalGeneration` (or a class with the same parts)."""

    def __init__(
        self,
        model: Any,
        *,
        readout: Readout = "at",
        audio: AudioEncoder | OmniAudio | None = None,
        head: EmbeddingHead | None = None,
    ) -> None:
        """Of one model version.

        Args:
            model: the network.
            readout: where vectors are read; of the version's manifest.
            audio: its audio encoder; None: it reads no sounds.
            head: makes vectors of its hidden states; None: its last states are the vectors.
        """
        super().__init__()
        self.read_back = READ_BACK[readout]
        self.model = model
        self.text = TextModel(model.model.language_model, head)
        self.images = VisionEncoder(model.model.visual)
        self.audio = audio
        self.head = head

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def prefill(
        self,
        prompts: Prompts,
        read_BA: torch.Tensor,
        *,
        images: ImageFeatures | None = None,
        sees_BLL: torch.Tensor | None = None,
        past_Y2BKLD: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the [B, A, W] states at the places that are read; see `TextModel.prefill`.

        `images` are the features of the prompts' images; computed when not given.
        """
        with unplanned_attention(self.device):
            if images is None and prompts.patches_PV is not None:
                images = self.images.encode(prompts.patches_PV, prompts.grids, prompts.motion)
            audio_SH = self.audio.encode(prompts.mels) if self.audio and prompts.mels else None
            return self.text.prefill(
                prompts,
                images,
                read_BA,
                audio_SH=audio_SH,
                sees_BLL=sees_BLL,
                past_Y2BKLD=past_Y2BKLD,
            )

    def last_states(self, prompts: Prompts) -> torch.Tensor:
        """Return the [B, W] state of each prompt's last token."""
        ends_B1 = torch.tensor(prompts.lengths, device=self.device)[:, None] - 1
        return self.prefill(prompts, ends_B1)[:, 0]

    def vectors(self, states_BRW: torch.Tensor) -> torch.Tensor:
        """Return [B, H] float32, L2-normalised, from the states at the `read_back` tokens."""
        read_BRH = states_BRW[..., -self._hidden_size :]
        return F.normalize(read_BRH.float().mean(dim=1), dim=-1)

    def end_vectors(self, prompts: Prompts) -> torch.Tensor:
        """Return [B, H] the vectors of prompts that end with an answer, L2-normalised."""
        ends_B1 = torch.tensor(prompts.lengths, device=self.device)[:, None]
        read_BR = ends_B1 - torch.tensor(self.read_back, device=self.device)
        return self.vectors(self.prefill(prompts, read_BR))

    def logits(self, states: torch.Tensor, token_ids: torch.Tensor | None = None) -> torch.Tensor:
        """Return next-token logits of [..., W] states, of all tokens or of the given ones alone.

        The ids are on the device, or it would be waited for.
        """
        written = states[..., : self._hidden_size]
        if token_ids is None:
            return self.model.lm_head(written)
        return F.linear(written, self.model.lm_head.weight[token_ids])

    @property
    def _hidden_size(self) -> int:
        size: int = self.model.config.get_text_config().hidden_size
        return size
