"""Base64 as it comes in records, queries and `data:` URIs."""

import base64


def decode_base64(text: str) -> bytes:
    """Decode base64; white space in it counts for nothing, for MIME wraps it into lines.

    Example:
        >>> decode_base64("R0l G")
        b'GIF'

    Raises:
        ValueError: there is anything else in it, or its end is missing.
    """
    return base64.b64decode(without_space(text), validate=True)


def without_space(text: str) -> str:
    """Return base64 on one line."""
    return "".join(text.split())
