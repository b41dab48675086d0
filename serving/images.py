"""Images that come with a query."""

from catalog.images.base64_text import decode_base64
from catalog.images.check import ImageError, opened_image
from recall.errors import InvalidQuery

MAX_IMAGE_BYTES = 8 * 2**20
MAX_IMAGE_PIXELS = 40_000_000
MAX_BASE64_CHARS = MAX_IMAGE_BYTES * 4 // 3 * 78 // 76 + 4  # MIME ends lines of 76 with two more


def decode_image(image_base64: str) -> bytes:
    """Return the image's file, with its format and size checked before its pixels are decoded.

    Raises:
        InvalidQuery: not base64, not an image that could also be landed, or larger than the limits.
    """
    try:
        data = decode_base64(image_base64)
    except ValueError as error:
        raise InvalidQuery(f"image_base64 must be base64: {error}") from error
    try:
        with opened_image(data, max_bytes=MAX_IMAGE_BYTES, max_pixels=MAX_IMAGE_PIXELS):
            return data
    except ImageError as error:
        raise InvalidQuery(f"image_base64: {error}") from error
