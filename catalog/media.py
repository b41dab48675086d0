"""The picture behind an item's `image_uri`: found, bounded, and known to be a picture."""

import base64
import binascii
import io
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL import Image

from catalog.records import Item, RecordError

MAX_PICTURE_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def load_media(
    item: Item, *, base_dir: Path | None, max_bytes: int = MAX_PICTURE_BYTES
) -> bytes | None:
    """An item's picture as it was stored, still encoded; None when the item has none.

    Only the header is parsed, never the pixels, so a small file that unfolds into a huge picture
    costs nothing. A picture cut off after its header passes here and fails in the embedder.

    Args:
        item: names its picture inline (`data:`), by a `file:` URI or by a path.
        base_dir: the data folder. Paths start there and may not leave it, not even by a link; None
            allows no files at all.
        max_bytes: of the encoded picture.

    Raises:
        RecordError: at stage "media"; the picture cannot be had, is too large or is none.
    """
    if item.deleted or not item.image_uri:
        return None
    try:
        parts = urlsplit(item.image_uri)
    except ValueError as error:
        raise RecordError("media", f"image_uri is not a URI: {error}") from error
    if parts.scheme == "data":
        picture = _inline(item.image_uri, max_bytes=max_bytes)
    elif parts.scheme == "file" and parts.netloc in ("", "localhost"):
        picture = _from_file(unquote(parts.path), base_dir=base_dir, max_bytes=max_bytes)
    elif not parts.scheme and not parts.netloc:
        picture = _from_file(item.image_uri, base_dir=base_dir, max_bytes=max_bytes)
    else:
        scheme = f"{parts.scheme}://{parts.netloc}" if parts.scheme == "file" else parts.scheme
        raise RecordError(
            "media",
            f"image_uri of scheme {scheme!r} is not fetched by this version; "
            "send the picture inline or as a file",
        )
    _check_picture(picture)
    return picture


def data_uri(picture: bytes) -> str:
    """The `data:` URI that carries a picture inside a record.

    Example:
        >>> data_uri(b"GIF")
        'data:application/octet-stream;base64,R0lG'
    """
    return f"data:application/octet-stream;base64,{base64.b64encode(picture).decode()}"


def _inline(uri: str, *, max_bytes: int) -> bytes:
    head, comma, payload = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise RecordError("media", "a data: URI must have the form data:<type>;base64,<picture>")
    _check_size(len(payload) * 3 // 4 - payload.count("=", -2), max_bytes=max_bytes)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError("media", f"the data: URI is not base64: {error}") from error


def _from_file(path: str, *, base_dir: Path | None, max_bytes: int) -> bytes:
    if base_dir is None:
        raise RecordError(
            "media", "image_uri is a path but this source has no data folder; send it inline"
        )
    try:
        root = base_dir.resolve()
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            raise RecordError("media", f"image_uri must stay inside the data folder, got {path!r}")
        if not file.is_file():
            raise RecordError("media", f"image_uri names no file of the data folder, got {path!r}")
        _check_size(file.stat().st_size, max_bytes=max_bytes)
        return file.read_bytes()
    except RecordError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # unreadable; NUL in it; a loop of links
        raise RecordError("media", f"image_uri {path!r} cannot be read: {error}") from error


def _check_size(num_bytes: int, *, max_bytes: int) -> None:
    if num_bytes > max_bytes:
        raise RecordError(
            "media", f"a picture may have at most {max_bytes} bytes, got {num_bytes}; shrink it"
        )


def _check_picture(picture: bytes) -> None:
    try:
        with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            width, height = image.size
            if width * height <= MAX_PIXELS:
                image.verify()
    except Exception as error:  # parsers of hostile bytes raise whatever they stumble over
        name = type(error).__name__
        raise RecordError("media", f"not a picture of {', '.join(FORMATS)}: {name}") from error
    if width * height > MAX_PIXELS:
        raise RecordError(
            "media", f"a picture may have at most {MAX_PIXELS} pixels, got {width} x {height}"
        )
