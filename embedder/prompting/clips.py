"""Untrusted clips to frames, as many as a model reads."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from catalog.clips.limits import MAX_PIXELS, ClipError, ClipLimits, FrameSampling
from catalog.decoding.decoder import GuardedDecoder
from embedder.prompting.images import is_extreme, pad_extremes

LIMITS = ClipLimits(
    max_bytes=2_000_000_000, max_duration_s=86_400, max_pixels=4 * MAX_PIXELS, decoding_s=120
)
"""Wider than any landing's: what is embedded was landed or asked within limits, of which this model
knows nothing. They hold what came another way."""


@dataclass(frozen=True, slots=True)
class TimedFrames:
    """Frames of a clip, and when each is shown."""

    frames_THWC: np.ndarray
    """[frames, height, width, 3] uint8, RGB, upright."""

    times_s: list[float]
    """Ascending, from the start of the clip on, in seconds."""


class ClipReader:
    """Opens clips; safe to share between threads."""

    def __init__(self, sampling: FrameSampling, decoder: GuardedDecoder) -> None:
        """Start no process yet; `sampling` says which frames are read."""
        self._decoder, self._sampling = decoder, sampling

    def open_clip(self, data: bytes) -> TimedFrames:
        """Return the frames that are read of a clip; extreme ratios are padded as of an image.

        Raises:
            catalog.clips.limits.ClipError: no clip, cut off, damaged, or too long to decode.
        """
        decoded = self._decoder.frames(data, limits=LIMITS, sampling=self._sampling)
        images = decoded.images
        height, width, _ = images[0].shape
        if is_extreme(width, height):
            images = [np.asarray(pad_extremes(Image.fromarray(pixels))) for pixels in images]
        return TimedFrames(np.stack(images), decoded.times_s)

    def problem(self, data: bytes | None) -> str | None:
        """Return why bytes cannot be opened as a clip; None when they can, or there are none."""
        if data is None:
            return None
        try:
            self.open_clip(data)
        except ClipError as error:
            return str(error)
        return None
