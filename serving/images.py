"""Images that come with a query: as bytes, or by an address."""

from catalog.images.check import ImageError, opened_image
from catalog.images.http import fetch_http
from catalog.images.image import ImageConfig, scheme_of
from catalog.records import RecordError
from recall.errors import InvalidQuery
from serving.base64_field import decoded_field, max_base64_chars

MAX_IMAGE_BYTES = 8 * 2**20
MAX_IMAGE_PIXELS = 40_000_000
MAX_BASE64_CHARS = max_base64_chars(MAX_IMAGE_BYTES)


def decode_image(image_base64: str) -> bytes:
    """Return the image's file, with its format and size checked before its pixels are decoded.

    Raises:
        InvalidQuery: not base64, not an image that could also be landed, or larger than the limits.
    """
    return _checked(decoded_field(image_base64, "image_base64"), "image_base64")


def fetch_image(url: str, config: ImageConfig) -> bytes:
    """Return the image's file behind an address, by the rules that items' images are fetched by.

    Args:
        url: untrusted.
        config: which networks may be reached, and how long it may take.

    Raises:
        InvalidQuery: not an address of the web, one that must not be reached, nothing behind it in
            time, or no image that `decode_image` would take.
    """
    try:
        if (scheme := scheme_of(url)) not in ("http", "https"):
            raise InvalidQuery(f"image_url must begin with http: or https:, got {scheme!r}")
        data = fetch_http(url, config)
    except RecordError as error:
        raise InvalidQuery(f"image_url: {error}") from error
    return _checked(data, "image_url")


def _checked(data: bytes, field: str) -> bytes:
    try:
        with opened_image(data, max_bytes=MAX_IMAGE_BYTES, max_pixels=MAX_IMAGE_PIXELS):
            return data
    except ImageError as error:
        raise InvalidQuery(f"{field}: {error}") from error
