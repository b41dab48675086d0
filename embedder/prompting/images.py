"""Untrusted image bytes to RGB images."""

from PIL import Image, ImageOps

from catalog.images.check import opened_image

MAX_ASPECT_RATIO = 20


def open_image(data: bytes) -> Image.Image:
    """Return the first frame as an upright RGB image.

    EXIF rotation is applied, transparency is laid on white, and CMYK, grey and palette images are
    converted. An image longer than 20 times its width (or the reverse) is padded with white, for
    the model's own resizing refuses extreme ratios. Everything that `catalog.images.check` lets
    land can be opened: EXIF that cannot be read counts as none.

    Raises:
        ImageError: the bytes are no image, are cut off, or hold more than 50 million pixels; see
            `catalog.images.check`. There is no limit of bytes: what is embedded was landed or
            asked within one.
    """
    with opened_image(data, max_bytes=None) as image:
        image.load()
        return _pad_extremes(_flatten(_upright(image)))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are there, so it is what the bytes say beside them
        return image


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
