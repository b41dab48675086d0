"""Tests for ponder/reports/html/gallery.py."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from catalog.images.check import ImageError
from ponder.reports.html.gallery import thumbnail_uri


def encoded(pixels_HWC):
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))


def test_a_large_image_keeps_its_shape_and_fits_into_128_pixels():
    assert decoded(thumbnail_uri(encoded(np.zeros((600, 1200, 3), np.uint8)))).size == (128, 64)


def test_a_small_image_is_not_enlarged():
    assert decoded(thumbnail_uri(encoded(np.zeros((20, 10, 3), np.uint8)))).size == (10, 20)


def test_the_hardest_images_still_leave_a_page_under_three_megabytes():
    noise = np.random.default_rng(0).integers(0, 256, size=(300, 300, 3), dtype=np.uint8)
    shown = 8 * (1 + 6) + 4 * 3 * 6 + 8  # neighbours, queries of four tiers, reasoned items
    assert shown * len(thumbnail_uri(encoded(noise))) < 2.8e6


def test_what_is_no_image_is_refused():
    with pytest.raises(ImageError):
        thumbnail_uri(b"<svg onload=alert(1)>")
