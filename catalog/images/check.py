"""What bytes must be to be landed as an image.

Landed as they came: every format of `FORMATS`, of any colour space (CMYK too) and any size from one
pixel up, turned by EXIF or not, still or animated. Making one upright RGB image of them, the
first frame of an animation, is the embedder's work.
"""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from catalog.records import RecordError

MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def check_image(image: bytes, *, max_pixels: int = MAX_PIXELS) -> None:
    """Returns if the bytes are a whole image.

    The first frame is decoded, for only so is a cut-off image found out: the embedder would find
    it a night later. It costs 0.1 ms for 96 x 96 pixels and 1 to 8 ms for 500 x 500. The header is
    read first, so that a small file that unfolds into a huge image costs nothing.

    Args:
        image: an encoded image, untrusted.
        max_pixels: of one frame.

    Raises:
        RecordError: at stage "media"; no image, cut off, damaged or too many pixels.
    """
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # remarks on hostile bytes are no news
            Image.open(io.BytesIO(image), formats=FORMATS) as opened,
        ):
            width, height = opened.size
            if width * height <= max_pixels:
                opened.draft(None, (1, 1))  # JPEG decodes to an eighth, in half the time
                opened.load()
    except Exception as error:  # parsers of hostile bytes raise whatever they stumble over
        got = "none" if isinstance(error, UnidentifiedImageError) else f"{error!r}"
        raise RecordError(
            "media", f"an image must be a whole {', '.join(FORMATS)}, got {got}"
        ) from error
    if width * height > max_pixels:
        raise RecordError(
            "media", f"an image may have at most {max_pixels} pixels, got {width} x {height}"
        )
