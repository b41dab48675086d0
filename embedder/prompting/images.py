"""Untrusted image bytes to RGB images."""

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
MAX_ASPECT_RATIO = 20


class ImageError(ValueError):
    """Bytes that are not an image we can show to a model; the text says why."""


def open_image(data: bytes) -> Image.Image:
    """The first frame as an upright RGB image.

    EXIF rotation is applied, transparency is laid on white, and CMYK, grey and palette images are
    converted. An image longer than 20 times its width (or the reverse) is padded with white, for
    the model's own resizing refuses extreme ratios.

    Raises:
        ImageError: the bytes are no image, are cut off, or hold more than 50 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data))
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"at most {MAX_PIXELS} pixels are read, got {image.width} x {image.height}"
                )
            image = ImageOps.exif_transpose(image)
            return _pad_extremes(_flatten(image))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"not a readable image: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"too many pixels: {error}") from error


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _pad_extremes(image: Image.Image) -> Image.Image:
    width, height = image.size
    least = -(-max(width, height) // MAX_ASPECT_RATIO)
    if min(width, height) >= least:
        return image
    padded = Image.new("RGB", (max(width, least), max(height, least)), "white")
    padded.paste(image)
    return padded
