"""Sounds that come with a query, as bytes."""

from catalog.audio.limits import AudioError, AudioLimits
from catalog.decoding.decoder import GuardedDecoder
from recall.errors import InvalidQuery
from serving.base64_field import decoded_field, max_base64_chars

MAX_AUDIO_BYTES = 8 * 2**20
MAX_BASE64_CHARS = max_base64_chars(MAX_AUDIO_BYTES)

LIMITS = AudioLimits(max_bytes=MAX_AUDIO_BYTES, max_duration_s=120, decoding_s=10)
"""Narrower than a landing's: somebody waits."""


def decode_audio(audio_base64: str, decoder: GuardedDecoder) -> bytes:
    """Return the sound's file; its samples were decoded once, and can be again.

    Raises:
        InvalidQuery: not base64, not a sound that could also be landed, or larger than the limits.
    """
    data = decoded_field(audio_base64, "audio_base64")
    try:
        decoder.waveform(data, limits=LIMITS)
    except AudioError as error:
        raise InvalidQuery(f"audio_base64: {error}") from error
    return data
