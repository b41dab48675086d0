"""What a sound may cost, and how much of it is read."""

from dataclasses import dataclass

from catalog.records import RecordError

MAX_BYTES = 50_000_000
MIN_SAMPLE_RATE_HZ = 4_000


class AudioError(RecordError):
    """Bytes that are no sound we take; a record that names them cannot be landed."""

    def __init__(self, reason: str) -> None:
        super().__init__("media", reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioLimits:
    """How much one sound may take; what is beyond is refused, and not cut."""

    max_bytes: int = MAX_BYTES
    """Of the file as it came."""

    max_duration_s: float = 600.0
    """Of all its samples together, whatever the header says."""

    max_channels: int = 6
    """The default lets 5.1 through."""

    max_sample_rate_hz: int = 96_000
    """Samples of a channel in a second."""

    decoding_s: float = 20.0
    """Longest time in which its samples are to be there; whoever decodes longer is ended."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioSampling:
    """Which samples stand for a sound. The numbers are those that Whisper reads."""

    sample_rate_hz: int = 16_000
    """Everything is resampled to it."""

    max_s: float = 30.0
    """Seconds from the start that are read; what follows is looked at and not decoded."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")

    @property
    def max_samples(self) -> int:
        """Most samples that stand for a sound."""
        return max(1, int(self.max_s * self.sample_rate_hz))


DEFAULT_LIMITS = AudioLimits()
DEFAULT_SAMPLING = AudioSampling()


def check_audio_size(num_bytes: int, *, max_bytes: int) -> None:
    """Check that a sound may be so large.

    Raises:
        AudioError: it may not.
    """
    if num_bytes > max_bytes:
        raise AudioError(f"a sound may have at most {max_bytes} bytes, got {num_bytes}; shorten it")


def too_slow(limits: AudioLimits) -> AudioError:
    """Return what is said of a sound that took too long."""
    return AudioError(
        f"a sound's samples must be there within {limits.decoding_s:g} s, got none yet; shorten it"
    )
