"""Small images to look at, made anew from what was landed."""

import io

from embedder.prompting.images import open_image


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
