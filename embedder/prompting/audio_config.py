"""What an audio encoder is built like, and so how a sound is cut for it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embedder.config_section import told_section

CONFIG_KEY = "audio_encoder"
"""Of a checkpoint's `config.json`; checkpoints without it have no audio encoder."""

SAMPLE_RATE_HZ = 16_000
WINDOW, HOP = 400, 160
"""Samples of a frame of the spectrogram, and from one to the next: those of Whisper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioEncoderConfig:
    """A small transformer over patches of a log-mel spectrogram."""

    num_mel_bins: int = 80
    """Bands of the spectrogram."""

    patch_frames: int = 8
    """Frames of the spectrogram, 10 ms each, that are one patch."""

    merged_patches: int = 4
    """Patches that become one token of the text model."""

    hidden_size: int = 128
    """Width of the encoder."""

    intermediate_size: int = 384
    """Width inside its feed-forward layers."""

    num_layers: int = 2
    """Layers of the encoder."""

    num_heads: int = 4
    """Heads of its attention."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1 on, got {value!r}")
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size must be an even multiple of num_heads, got {self.hidden_size} with "
                f"num_heads {self.num_heads}"
            )
        if self.token_samples < WINDOW:
            raise ValueError(
                "patch_frames times merged_patches must be at least 3, for a token is no shorter "
                f"than a window, got {self.patch_frames} times {self.merged_patches}"
            )

    @property
    def token_frames(self) -> int:
        """Frames of the spectrogram that become one token."""
        return self.patch_frames * self.merged_patches

    @property
    def token_samples(self) -> int:
        """Samples that become one token."""
        return self.token_frames * HOP

    def num_filled(self, num_samples: int) -> int:
        """Return to how many samples a sound is filled up with zeros."""
        return -(-num_samples // self.token_samples) * self.token_samples

    def num_tokens(self, num_frames: int) -> int:
        """Return how many tokens so many frames become."""
        return num_frames // self.token_frames

    def as_json(self) -> dict[str, int]:
        """Return it as `config.json` keeps it."""
        return asdict(self)

    @classmethod
    def told(cls, values: Mapping[str, Any] | None) -> "AudioEncoderConfig | None":
        """Return what `config.json` tells under `CONFIG_KEY`; None where that is nothing.

        Raises:
            ValueError: a key is not known, or a value out of range.
        """
        return told_section(cls, CONFIG_KEY, values)


@dataclass(frozen=True, kw_only=True, slots=True)
class OmniAudioConfig:
    """How a sound is cut for the audio encoder of Qwen3-Omni's thinker."""

    num_mel_bins: int
    """Bands of the spectrogram."""

    chunk_frames: int
    """Frames that are convolved together; what is left over is a shorter chunk."""

    def num_filled(self, num_samples: int) -> int:
        """Return to how many samples a sound is filled up with zeros: whole frames, a window."""
        return -(-max(num_samples, WINDOW) // HOP) * HOP

    def num_tokens(self, num_frames: int) -> int:
        """Return how many tokens so many frames become: three convolutions halve each chunk.

        >>> OmniAudioConfig(num_mel_bins=128, chunk_frames=100).num_tokens(250)
        33
        """
        whole, rest = divmod(num_frames, self.chunk_frames)
        return whole * _halved_thrice(self.chunk_frames) + _halved_thrice(rest)


def _halved_thrice(num_frames: int) -> int:
    return -(-num_frames // 8)


AudioConfig = AudioEncoderConfig | OmniAudioConfig
