"""Untrusted picture bytes to RGB pictures."""

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
MAX_ASPECT_RATIO = 20


class PictureError(ValueError):
    """Bytes that are not a picture we can show to a model; the text says why."""


def open_picture(data: bytes) -> Image.Image:
    """The first frame as an upright RGB picture.

    EXIF rotation is applied, transparency is laid on white, and CMYK, grey and palette pictures are
    converted. A picture longer than 20 times its width (or the reverse) is padded with white, for
    the model's own resizing refuses extreme ratios.

    Raises:
        PictureError: the bytes are no picture, are cut off, or hold more than 50 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture: Image.Image = Image.open(io.BytesIO(data))
            if picture.width * picture.height > MAX_PIXELS:
                raise PictureError(
                    f"at most {MAX_PIXELS} pixels are read, got {picture.width} x {picture.height}"
                )
            picture = ImageOps.exif_transpose(picture)
            return _pad_extremes(_flatten(picture))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"not a readable picture: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(f"too many pixels: {error}") from error


def _flatten(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture.convert("RGB")


def _pad_extremes(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    least = -(-max(width, height) // MAX_ASPECT_RATIO)
    if min(width, height) >= least:
        return picture
    padded = Image.new("RGB", (max(width, least), max(height, least)), "white")
    padded.paste(picture)
    return padded
