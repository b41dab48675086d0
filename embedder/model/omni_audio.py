"""The audio encoder that the thinker of Qwen3-Omni brings along, behind the interface of our own.

A thinker is a Qwen3-VL with experts and an encoder of sounds, so it is read as every Qwen3-VL is.
transformers' encoder pads the chunks of all sounds of a batch to the longest, and a convolution
lets the padding into the last place of a shorter one; here each sound is encoded for itself, as
transformers does it for one sound alone.

Shape legend:
  F = frames of a spectrogram, M = its bands, T = tokens of all sounds, H = hidden size
"""

from collections.abc import Sequence
from typing import Any

import torch

from embedder.prompting.audio_config import OmniAudioConfig


class OmniAudio:
    """Runs the `audio_tower` part of a thinker, whose weights belong to the network."""

    def __init__(self, encoder: Any) -> None:
        """Wrap it."""
        self._encoder = encoder
        self.config = OmniAudioConfig(
            num_mel_bins=encoder.config.num_mel_bins, chunk_frames=2 * encoder.config.n_window
        )

    def encode(self, mels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return [T, H] the tokens of sounds, one after the other.

        Args:
            mels: [F, M] of each; see `embedder.prompting.audio`.
        """
        return torch.cat([self._encoded(mel_FM) for mel_FM in mels])

    def _encoded(self, mel_FM: torch.Tensor) -> torch.Tensor:
        length = torch.tensor([len(mel_FM)], device=mel_FM.device)
        return self._encoder(mel_FM.T, feature_lens=length).last_hidden_state

    def requires_grad_(self, requires_grad: bool) -> None:
        """Have its weights trained or not."""
        self._encoder.requires_grad_(requires_grad)
