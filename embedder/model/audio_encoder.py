"""A small audio encoder: patches of a log-mel spectrogram to tokens of the text model.

Qwen3-VL hears nothing; this stands beside its vision encoder and is trained from scratch, with a
checkpoint that is given one (`embedder.finetune.training.audio`). It follows Whisper's encoder
in what it reads, in its sinusoids for time and in its layers, which normalise first; in place of
Whisper's convolutions a patch of the spectrogram is multiplied at once, as an image's is, and
neighbouring patches are merged into one token.

Shape legend:
  S = sounds of one length, F = frames of a spectrogram, M = its bands, P = patches of a sound,
  W = the encoder's width, T = tokens of all sounds, H = hidden size of the text model
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from embedder.prompting.audio_config import AudioEncoderConfig

WEIGHTS = "audio_encoder.safetensors"
"""File of a checkpoint's folder."""


class AudioEncoder(torch.nn.Module):
    """Encodes sounds; each attends to itself alone."""

    def __init__(self, config: AudioEncoderConfig, *, out_size: int) -> None:
        """Draw weights from torch's global generator.

        Args:
            config: how it is built.
            out_size: hidden size of the text model.
        """
        super().__init__()
        self.config = config
        width, merged = config.hidden_size, config.hidden_size * config.merged_patches
        self.patches = torch.nn.Linear(config.patch_frames * config.num_mel_bins, width)
        self.layers = torch.nn.ModuleList(_Layer(config) for _ in range(config.num_layers))
        self.norm = torch.nn.LayerNorm(width)
        self.projector = torch.nn.Sequential(
            torch.nn.Linear(merged, merged), torch.nn.GELU(), torch.nn.Linear(merged, out_size)
        )

    def encode(self, mels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return [T, H] the tokens of sounds, one after the other.

        Args:
            mels: [F, M] of each, whole tokens; see `embedder.prompting.audio`. Those of one length
                are computed together, without padding, so none depends on the others.
        """
        of_length: defaultdict[int, list[int]] = defaultdict(list)
        for number, mel_FM in enumerate(mels):
            of_length[len(mel_FM)].append(number)
        tokens: list[torch.Tensor | None] = [None] * len(mels)
        for numbers in of_length.values():
            encoded = self._encoded(torch.stack([mels[number] for number in numbers]))
            for number, tokens_TH in zip(numbers, encoded, strict=True):
                tokens[number] = tokens_TH
        return torch.cat([each for each in tokens if each is not None])

    def _encoded(self, mels_SFM: torch.Tensor) -> torch.Tensor:
        config = self.config
        num_sounds, num_frames, _ = mels_SFM.shape
        num_patches = num_frames // config.patch_frames
        weight = self.patches.weight
        states_SPW = self.patches(mels_SFM.reshape(num_sounds, num_patches, -1).to(weight.dtype))
        states_SPW = states_SPW + _sinusoids(num_patches, config.hidden_size).to(weight)
        for layer in self.layers:
            states_SPW = layer(states_SPW)
        num_tokens = num_patches // config.merged_patches
        return self.projector(self.norm(states_SPW).reshape(num_sounds, num_tokens, -1))


class _Layer(torch.nn.Module):
    """Attention over a whole sound, then a feed-forward layer; each normalised before."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(width, config.intermediate_size),
            torch.nn.GELU(),
            torch.nn.Linear(config.intermediate_size, width),
        )

    def forward(self, states_SPW: torch.Tensor) -> torch.Tensor:
        split = (*states_SPW.shape[:2], 3, self.num_heads, -1)
        query, key, value = (
            part.transpose(1, 2) for part in self.qkv(self.norm1(states_SPW)).view(split).unbind(2)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        states_SPW = states_SPW + self.out(mixed.transpose(1, 2).flatten(2))
        return states_SPW + self.mlp(self.norm2(states_SPW))


def _sinusoids(length: int, width: int) -> torch.Tensor:
    """Return [length, width] sines and cosines of the places, as of Whisper's encoder."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) / max(half - 1, 1) * torch.arange(half))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def load_audio_encoder(
    folder: Path,
    config: AudioEncoderConfig,
    *,
    out_size: int,
    device: torch.device | str,
    dtype: torch.dtype,
) -> AudioEncoder:
    """Return a checkpoint's audio encoder.

    Args:
        folder: of the checkpoint.
        config: of its `config.json`.
        out_size: hidden size of its text model.
        device: where it computes.
        dtype: of its weights.

    Raises:
        FileNotFoundError: the folder has no weights of one.
    """
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(
            f"{folder} must hold {WEIGHTS}, for its config.json tells of an audio encoder"
        )
    with torch.device("meta"):  # weights that are replaced at once need not be drawn
        encoder = AudioEncoder(config, out_size=out_size)
    encoder.load_state_dict(load_file(folder / WEIGHTS), assign=True)
    return encoder.to(device, dtype).eval().requires_grad_(False)


def save_audio_encoder(encoder: AudioEncoder, folder: Path) -> None:
    """Write the weights of an audio encoder into a checkpoint's folder."""
    weights = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
