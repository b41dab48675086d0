"""Tests for check.py: what lands and is embedded, and what never is. Images are made by Pillow."""

import base64
import io
import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from catalog.images.check import MAX_PIXELS, ImageError, check_image, opened_image
from catalog.records import RecordError
from embedder.prompting.images import open_image
from recall.errors import InvalidQuery
from serving.images import decode_image

NOISE = Image.merge("RGB", [Image.effect_noise((64, 48), 80)] * 3)


def png_header(width, height):
    """A PNG that claims a size and holds no pixels."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(NOISE, format="JPEG", exif=exif)


def reason(image, **options):
    with pytest.raises(RecordError) as caught:
        check_image(image, **options)
    assert caught.value.stage == "media"
    return str(caught.value)


FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "blue")], "duration": 50}
LANDED = {
    "PNG": encoded(NOISE, format="PNG"),
    "JPEG": encoded(NOISE, format="JPEG"),
    "progressive JPEG": encoded(NOISE, format="JPEG", progressive=True),
    "WEBP": encoded(NOISE, format="WEBP"),
    "GIF": encoded(NOISE, format="GIF"),
    "BMP": encoded(NOISE, format="BMP"),
    "CMYK": encoded(NOISE.convert("CMYK"), format="JPEG"),
    "grey with alpha": encoded(NOISE.convert("LA"), format="PNG"),
    "palette": encoded(NOISE.convert("P"), format="PNG"),
    "16 bits": encoded(Image.new("I;16", (64, 48), 40_000), format="PNG"),
    "1 x 1": encoded(Image.new("RGB", (1, 1)), format="PNG"),
    "1 x 1 GIF": encoded(Image.new("P", (1, 1)), format="GIF"),
    "4000 x 1": encoded(Image.new("RGB", (4_000, 1)), format="PNG"),
    "turned by EXIF": turned(6),
    "animated GIF": encoded(NOISE, format="GIF", **FRAMES),
    "animated WEBP": encoded(NOISE, format="WEBP", **FRAMES),
    "animated PNG": encoded(NOISE, format="PNG", **FRAMES),
}


@pytest.mark.parametrize("image", LANDED.values(), ids=LANDED.keys())
def test_whole_images_of_every_kind_land_and_can_be_embedded(image):
    check_image(image)
    open_image(image)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "progressive JPEG", "WEBP", "GIF", "BMP", "CMYK"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_an_image_cut_off_anywhere_in_its_pixels_is_rejected(kind, share):
    whole = LANDED[kind]
    assert "whole PNG" in reason(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF", b"<svg/>"]
)
def test_bytes_that_are_no_image_are_rejected_for_the_same_reason_every_time(content):
    # A reason that told an address of memory would make a new dead letter at every landing.
    assert "whole PNG, JPEG, WEBP, GIF, BMP, got" in reason(content)
    assert reason(content) == reason(content)


def test_a_format_outside_the_list_is_rejected():
    assert "got none" in reason(encoded(NOISE, format="TIFF"))


def test_the_byte_limit_includes_its_bound():
    num_bytes = len(LANDED["PNG"])
    check_image(LANDED["PNG"], max_bytes=num_bytes)
    check_image(LANDED["PNG"], max_bytes=None)
    told = reason(LANDED["PNG"], max_bytes=num_bytes - 1)
    assert f"at most {num_bytes - 1} bytes, got {num_bytes}" in told


def test_opening_alone_decodes_no_pixels():
    with opened_image(LANDED["PNG"][:-500]) as image:
        assert image.size == (64, 48)


def test_what_fails_while_an_image_is_open_is_its_fault():
    with pytest.raises(ImageError, match="whole PNG"), opened_image(LANDED["PNG"][:-500]) as image:
        image.load()


def test_the_pixel_limit_includes_its_bound():
    check_image(LANDED["PNG"], max_pixels=64 * 48)
    assert "got 64 x 48" in reason(LANDED["PNG"], max_pixels=64 * 48 - 1)


@pytest.mark.parametrize("side", [7_072, 10_000, 60_000])  # Pillow: nothing, a warning, an error
def test_a_small_file_that_unfolds_into_a_huge_image_is_rejected_by_its_header(side):
    assert side * side > MAX_PIXELS
    assert f"at most {MAX_PIXELS} pixels" in reason(png_header(side, side))
    with pytest.raises(ImageError, match=f"at most {MAX_PIXELS} pixels"):
        open_image(png_header(side, side))


def test_a_text_chunk_that_unfolds_is_rejected():
    bomb = b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000_000))
    whole = LANDED["PNG"]
    packed = struct.pack(">I", len(bomb[1])) + bomb[0] + bomb[1]
    packed += struct.pack(">I", zlib.crc32(bomb[0] + bomb[1]))
    reason(whole[:33] + packed + whole[33:])  # after the signature and the header


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_image_whose_exif_is_garbage_lands_and_can_be_embedded(kind):
    image = encoded(NOISE, format=kind, exif=b"Exif\0\0garbage")
    check_image(image)
    assert open_image(image).size == (64, 48)


def test_whatever_lands_can_be_embedded_and_nothing_else():
    rng = random.Random(0)
    wholes = [LANDED[kind] for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "turned by EXIF")]
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(rng.choice(wholes))
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(min(len(damaged), 300))] = rng.randrange(256)
        outcomes.add((passes(check_image, bytes(damaged)), passes(open_image, bytes(damaged))))
    assert outcomes == {(True, True), (False, False)}


def passes(function, image, *, refusal=ImageError):
    try:
        function(image)
    except refusal:
        return False
    return True


def test_no_other_module_opens_images():
    root = Path(__file__).resolve().parents[3]
    packages = ("catalog", "embedder", "features", "evaluation", "recall", "ranker", "serving")
    opening = [
        path.relative_to(root).as_posix()
        for package in (*packages, "ponder", "dags")
        for path in sorted((root / package).rglob("*.py"))
        if "Image.open(" in path.read_text()
    ]
    assert opening == ["catalog/images/check.py"]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_32_bits_are_refused_by_name_in_whatever_format(mode, monkeypatch):
    """None of the formats has them today; a TIFF does, and Pillow would clip it to white."""
    wide = encoded(Image.new(mode, (8, 8), 70_000), format="TIFF")
    assert "must be a whole PNG" in reason(wide)
    monkeypatch.setattr("catalog.images.check.FORMATS", ("TIFF",))
    assert f"at most 16 bits a channel, got mode '{mode}'" in reason(wide)


def test_a_query_takes_the_formats_that_land_and_no_others():
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO"):
        image = encoded(NOISE, format=kind)
        for encode in (base64.b64encode, base64.encodebytes):  # on one line, and wrapped
            asked = encode(image).decode()
            assert passes(check_image, image) == passes(decode_image, asked, refusal=InvalidQuery)
