"""Clips that come with a query, as bytes."""

from catalog.clips.limits import ClipError, ClipLimits
from catalog.decoding.decoder import GuardedDecoder
from recall.errors import InvalidQuery
from serving.base64_field import decoded_field, max_base64_chars

MAX_CLIP_BYTES = 16 * 2**20
MAX_BASE64_CHARS = max_base64_chars(MAX_CLIP_BYTES)

LIMITS = ClipLimits(max_bytes=MAX_CLIP_BYTES, max_duration_s=120, decoding_s=10)
"""Narrower than a landing's: somebody waits."""


def decode_clip(video_base64: str, decoder: GuardedDecoder) -> bytes:
    """Return the clip's file; its frames were decoded once, and can be again.

    Raises:
        InvalidQuery: not base64, not a clip that could also be landed, or larger than the limits.
    """
    data = decoded_field(video_base64, "video_base64")
    try:
        decoder.frames(data, limits=LIMITS)
    except ClipError as error:
        raise InvalidQuery(f"video_base64: {error}") from error
    return data
