"""Untrusted image bytes to RGB images."""

from typing import Any

import numpy as np
from PIL import Image

from catalog.images.check import ImageError, opened_image

MAX_ASPECT_RATIO = 20

ORIENTATION = 0x0112
"""EXIF's tag; it says how the pixels are turned."""

_UPRIGHT: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(data: bytes) -> Image.Image:
    """Return the first frame as an upright RGB image.

    EXIF rotation is applied, transparency is laid on white, and CMYK, grey and palette images are
    converted; 16 bits of grey are scaled to 8. An image longer than 20 times its width (or the
    reverse) is padded with white, for the model's own resizing refuses extreme ratios. Everything
    that `catalog.images.check` lets land can be opened: of EXIF nothing but the orientation is
    looked at, and none if that cannot be read.

    Raises:
        ImageError: the bytes are no image, are cut off, or hold more than 50 million pixels; see
            `catalog.images.check`. There is no limit of bytes: what is embedded was landed or
            asked within one.
    """
    with opened_image(data, max_bytes=None) as image:
        image.load()
        return pad_extremes(_flatten(_eight_bits(_upright(image))))


def image_problem(data: bytes | None) -> str | None:
    """Return why bytes cannot be opened as an image; None when they can, or when there are none."""
    if data is None:
        return None
    try:
        open_image(data)
    except ImageError as error:
        return str(error)
    return None


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(ORIENTATION))
    except Exception:  # the pixels are there, so it is what the bytes say beside them
        return image
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits of grey, which Pillow's own conversion would clip to white."""
    if not image.mode.startswith("I;16"):
        return image
    grey = np.asarray(image)
    scaled = Image.fromarray(np.round(grey / 257).astype(np.uint8))  # 65535 = 257 * 255
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the one of the 65,536 greys that is see-through
        scaled.putalpha(Image.fromarray(np.where(grey == clear, 0, 255).astype(np.uint8)))
    return scaled


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def is_extreme(width: int, height: int) -> bool:
    """Return whether one side is longer than 20 times the other."""
    return max(width, height) > MAX_ASPECT_RATIO * min(width, height)


def pad_extremes(image: Image.Image) -> Image.Image:
    """Return an image of which no side is longer than 20 times the other."""
    width, height = image.size
    if not is_extreme(width, height):
        return image
    least = -(-max(width, height) // MAX_ASPECT_RATIO)
    padded = Image.new("RGB", (max(width, least), max(height, least)), "white")
    padded.paste(image)
    return padded
