"""Small images to look at and sounds to listen to, made anew from what was landed."""

import io

from PIL import Image

from catalog.audio.limits import AudioSampling
from catalog.audio.playing import as_mp3
from catalog.clips.limits import FrameSampling
from catalog.decoding.decoder import GuardedDecoder
from embedder.prompting.images import open_image

SAMPLING = FrameSampling(max_frames=8)
LAST_FRAME_MS = 500


def thumbnail(image: bytes, *, side: int) -> bytes:
    """Return an image as WebP, scaled so that its longer side has at most `side` pixels.

    Encoded anew, so that no byte of the untrusted file reaches a browser.

    Args:
        image: encoded, untrusted.
        side: in pixels; a smaller image keeps its size.

    Raises:
        ImageError: the bytes are no image; the text says why.
    """
    opened = open_image(image)
    opened.thumbnail((side, side))
    buffer = io.BytesIO()
    opened.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def moving_thumbnail(clip: bytes, decoder: GuardedDecoder, *, side: int) -> bytes:
    """Return frames of a clip as an animated WebP, encoded anew as of `thumbnail`.

    Args:
        clip: encoded, untrusted.
        decoder: of the clip.
        side: in pixels; a smaller clip keeps its size.

    Raises:
        ClipError: the bytes are no clip; the text says why.
    """
    decoded = decoder.frames(clip, sampling=SAMPLING)
    frames = [Image.fromarray(pixels) for pixels in decoded.images]
    for frame in frames:
        frame.thumbnail((side, side))
    ends_s = decoded.times_s[1:]
    lasts = [round(1000 * (end - at)) for at, end in zip(decoded.times_s, ends_s, strict=False)]
    buffer = io.BytesIO()
    first, *others = frames
    first.save(
        buffer,
        "WEBP",
        quality=80,
        save_all=True,
        append_images=others,
        duration=[*lasts, LAST_FRAME_MS],
        loop=0,
    )
    return buffer.getvalue()


def playable(audio: bytes, decoder: GuardedDecoder, *, max_s: float) -> bytes:
    """Return the start of a sound as MP3, encoded anew as of `thumbnail`.

    Args:
        audio: encoded, untrusted.
        decoder: of the sound.
        max_s: seconds that are kept.

    Raises:
        AudioError: the bytes are no sound; the text says why.
    """
    return as_mp3(decoder.waveform(audio, sampling=AudioSampling(max_s=max_s)))
