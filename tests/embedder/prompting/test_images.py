"""Tests for embedder/prompting/images.py: what untrusted bytes become."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

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


SCENE = Image.effect_noise((8, 4), 80).convert("RGB")


def exif(*entries):
    """A block of one directory, entries as tag, type, count and four bytes of value."""
    rows = b"".join(struct.pack("<HHL4s", *entry) for entry in entries)
    head = b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(entries))
    return head + rows + struct.pack("<L", 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_every_orientation_is_turned_upright_as_pillow_does(orientation, kind):
    turned = Image.Exif()
    turned[0x0112] = orientation
    data = encoded(SCENE, kind, exif=turned, lossless=True)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert open_image(data).tobytes() == expected.convert("RGB").tobytes()


ORIENTED = (0x0112, 3, 1, b"\6\0\0\0")  # a quarter


@pytest.mark.parametrize(
    "odd",
    [
        (0x011A, 10, 1, b"\xff\xff\xff\xff"),  # the resolution, a fraction beyond the end
        (0x0128, 8, 1, b"\xfb\xff\0\0"),  # its unit, -5
        (0x0132, 2, 5_000, b"\x10\0\0\0"),  # a date of 5,000 characters
        (0x8825, 4, 1, b"\x08\0\0\0"),  # a place that is the directory itself
        (0x9286, 99, 7, b"\0\0\0\0"),  # a comment of a type that is none
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_odd_tag_beside_the_orientation_changes_nothing(kind, odd):
    assert open_image(encoded(SCENE, kind, exif=exif(ORIENTED, odd))).size == (4, 8)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_is_none_turns_nothing(value):
    block = exif((0x0112, 3, 1, struct.pack("<HH", value, 0)))
    assert open_image(encoded(SCENE, "JPEG", exif=block)).size == (8, 4)


GREYS = np.arange(256, dtype=np.uint16).reshape(16, 16)


def test_sixteen_bits_of_grey_are_scaled_to_the_eight_of_their_twin():
    twin = open_image(encoded(Image.fromarray(GREYS.astype(np.uint8))))
    wide = open_image(encoded(Image.fromarray(GREYS * 257)))
    assert np.array_equal(np.asarray(wide), np.asarray(twin))
    between = open_image(encoded(Image.fromarray(GREYS * 257 - np.minimum(GREYS, 128))))
    assert np.array_equal(np.asarray(between), np.asarray(twin))


def png_of_16_bits(colour_type, samples, *chunks):
    """One row of pixels, each of the given 16-bit samples."""
    line = b"\0" + struct.pack(f">{len(samples)}H", *samples)
    width = len(samples) // {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    head = (b"IHDR", struct.pack(">IIBBBBB", width, 1, 16, colour_type, 0, 0, 0))
    parts = (head, *chunks, (b"IDAT", zlib.compress(line)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (png_of_16_bits(0, (0, 0x8080, 0xFFFF)), [(0,) * 3, (128,) * 3, (255,) * 3]),
        (
            png_of_16_bits(0, (0x8080, 0x8081), (b"tRNS", b"\x80\x80")),
            [(255,) * 3, (128,) * 3],
        ),
        (png_of_16_bits(4, (0x4040, 0xFFFF, 0x4040, 0)), [(64,) * 3, (255,) * 3]),
        (png_of_16_bits(2, (0xFFFF, 0x8080, 0)), [(255, 128, 0)]),
        (png_of_16_bits(6, (0xFFFF, 0x8080, 0, 0)), [(255,) * 3]),
    ],
    ids=["grey", "grey with a clear one", "grey and alpha", "colour", "colour and alpha"],
)
def test_images_of_sixteen_bits_look_as_they_should(data, pixels):
    image = open_image(data)
    assert [image.getpixel((x, 0)) for x in range(image.width)] == pixels


def test_a_turned_image_of_sixteen_bits_is_turned_and_scaled():
    wide = Image.fromarray(np.full((4, 8), 0x4040, np.uint16))
    image = open_image(encoded(wide, exif=exif(ORIENTED)))
    assert (image.size, image.getpixel((0, 0))) == ((4, 8), (64, 64, 64))
