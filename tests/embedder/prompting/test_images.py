"""Tests for embedder/prompting/images.py: what untrusted bytes become."""

import io

import pytest
from PIL import Image

from catalog.images.check import ImageError
from embedder.prompting.images import open_image


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert open_image(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied():
    image = Image.new("RGB", (8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter
    assert open_image(encoded(image, "JPEG", exif=exif)).size == (4, 8)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert open_image(encoded(Image.new(mode, (8, 8)), kind)).mode == "RGB"


def test_only_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_image(data).getpixel((0, 0))[0] > 200


def test_a_line_is_padded_to_a_ratio_that_models_take():
    assert open_image(encoded(Image.new("RGB", (400, 1)))).size == (400, 20)


def test_a_single_pixel_is_an_image():
    assert open_image(encoded(Image.new("RGB", (1, 1)))).size == (1, 1)


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_are_refused(data):
    with pytest.raises(ImageError, match="must be a whole PNG"):
        open_image(data)


def test_a_truncated_image_is_refused():
    noise = Image.effect_noise((64, 64), 80)
    with pytest.raises(ImageError, match="must be a whole PNG"):
        open_image(encoded(noise)[:600])


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    bomb = encoded(Image.new("1", (10_000, 10_000)))
    assert len(bomb) < 50_000
    with pytest.raises(ImageError, match="pixels"):
        open_image(bomb)
