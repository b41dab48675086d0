"""Files that come inside a request."""

from catalog.images.base64_text import decode_base64
from recall.errors import InvalidQuery


def decoded_field(text: str, field: str) -> bytes:
    """Return what a field of a request holds in base64.

    Raises:
        InvalidQuery: it is not base64.
    """
    try:
        return decode_base64(text)
    except ValueError as error:
        raise InvalidQuery(f"{field} must be base64: {error}") from error


def max_base64_chars(num_bytes: int) -> int:
    """Return how long a field may be for a file of so many bytes.

    MIME ends lines of 76 characters with two more.
    """
    return num_bytes * 4 // 3 * 78 // 76 + 4
