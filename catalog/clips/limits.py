"""What a clip may cost, and which of its frames are looked at."""

from dataclasses import dataclass

from catalog.records import RecordError

MAX_BYTES = 50_000_000
MAX_PIXELS = 9_000_000


class ClipError(RecordError):
    """Bytes that are no clip we take; a record that names them cannot be landed."""

    def __init__(self, reason: str) -> None:
        super().__init__("media", reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipLimits:
    """How much one clip may take; what is beyond is refused, and not cut."""

    max_bytes: int = MAX_BYTES
    """Of the file as it came."""

    max_duration_s: float = 300.0
    """From the first frame to the end of the last, whatever the header says."""

    max_pixels: int = MAX_PIXELS
    """Of one frame. Asked of the header before anything is decoded, and of every frame that says
    otherwise later, before memory is taken for it. The default lets 4K through."""

    decoding_s: float = 20.0
    """Longest time in which its frames are to be there; whoever decodes longer is ended."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameSampling:
    """How many frames stand for a clip.

    The numbers and the rule are those of Qwen3-VL, but for `max_frames`, which it sets to 768.
    """

    fps: float = 2.0
    """Frames looked at for a second of the clip."""

    min_frames: int = 4
    """Of a clip that has so many."""

    max_frames: int = 16
    """Of a clip that lasts longer they are farther apart."""

    max_kept_pixels: int = 1_048_576
    """A frame with more is scaled down as soon as it is decoded."""

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"fps must be > 0, got {self.fps}")
        if not 1 <= self.min_frames <= self.max_frames:
            raise ValueError(
                f"min_frames must be in [1, max_frames], got {self.min_frames} with "
                f"max_frames {self.max_frames}"
            )
        if self.max_kept_pixels < 1:
            raise ValueError(f"max_kept_pixels must be at least 1, got {self.max_kept_pixels}")


DEFAULT_LIMITS = ClipLimits()
DEFAULT_SAMPLING = FrameSampling()


def check_clip_size(num_bytes: int, *, max_bytes: int) -> None:
    """Check that a clip may be so large.

    Raises:
        ClipError: it may not.
    """
    if num_bytes > max_bytes:
        raise ClipError(f"a clip may have at most {max_bytes} bytes, got {num_bytes}; shorten it")


def too_slow(limits: ClipLimits) -> ClipError:
    """Return what is said of a clip that took too long."""
    return ClipError(
        f"a clip's frames must be there within {limits.decoding_s:g} s, got none yet; shorten it "
        "or scale it down"
    )
