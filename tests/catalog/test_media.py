"""Tests for catalog/media.py: where pictures may come from, and what counts as one."""

import base64
import io
import os
import struct
import zlib
from datetime import UTC, datetime

import pytest
from PIL import Image

from catalog.media import MAX_PIXELS, data_uri, load_media
from catalog.records import Item, RecordError


def item(image_uri, **fields):
    return Item(
        item_id="a", updated_at=datetime(2026, 1, 1, tzinfo=UTC), image_uri=image_uri, **fields
    )


def png_header(width, height):
    """A PNG that claims a size and holds no pixels."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def reason(image_uri, *, base_dir=None, **options):
    with pytest.raises(RecordError) as caught:
        load_media(item(image_uri), base_dir=base_dir, **options)
    assert caught.value.stage == "media"
    return str(caught.value)


def test_an_item_without_a_picture_has_none():
    assert load_media(item(None), base_dir=None) is None


def test_a_tombstone_loads_nothing():
    assert load_media(item("http://host/x.png", deleted=True), base_dir=None) is None


def test_an_inline_picture_comes_back_as_it_was(picture):
    assert load_media(item(data_uri(picture)), base_dir=None) == picture
    encoded = base64.b64encode(picture).decode()
    assert load_media(item(f"data:image/png;base64,{encoded}"), base_dir=None) == picture


@pytest.mark.parametrize(
    "form", ["pics/a b.png", "file:pics/a%20b.png", "file://{dir}/pics/a%20b.png"]
)
def test_a_picture_is_read_from_the_data_folder(tmp_path, picture, form):
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a b.png").write_bytes(picture)
    assert load_media(item(form.format(dir=tmp_path)), base_dir=tmp_path) == picture


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "file:../secret.png",
        "file:%2e%2e/secret.png",
        "{dir}/secret.png",
        "link.png",
    ],
)
def test_a_path_may_not_leave_the_data_folder(tmp_path, picture, path):
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(picture)
    os.symlink(tmp_path / "secret.png", folder / "link.png")
    assert "must stay inside" in reason(path.format(dir=tmp_path), base_dir=folder)


def test_paths_are_refused_where_there_is_no_data_folder():
    assert "no data folder" in reason("a.png")


@pytest.mark.parametrize("path", ["none.png", ".", "a\0b.png", "x" * 5000])
def test_a_path_that_names_no_file_is_rejected(tmp_path, path):
    assert path[:9] in reason(path, base_dir=tmp_path).replace("\\x00", "\0")


@pytest.mark.parametrize("uri", ["http://host/a.png", "https://h/a", "s3://b/a.png", "media:00"])
def test_other_schemes_are_not_fetched_and_say_so(tmp_path, uri):
    scheme = uri.partition(":")[0]
    assert f"scheme '{scheme}' is not fetched" in reason(uri, base_dir=tmp_path)


def test_a_file_of_another_host_is_not_fetched(tmp_path):
    assert "is not fetched" in reason("file://host/a.png", base_dir=tmp_path)
    assert "is not fetched" in reason("//host/a.png", base_dir=tmp_path)


@pytest.mark.parametrize("uri", ["data:image/png;base64,%%%", "data:image/png,abc", "data:"])
def test_a_data_uri_must_be_base64(uri):
    assert "base64" in reason(uri)


def test_the_size_limit_counts_encoded_bytes_and_includes_its_bound(tmp_path, picture):
    (tmp_path / "a.png").write_bytes(picture)
    for uri in (data_uri(picture), "a.png"):
        assert load_media(item(uri), base_dir=tmp_path, max_bytes=len(picture)) == picture
        assert f"got {len(picture)}" in reason(uri, base_dir=tmp_path, max_bytes=len(picture) - 1)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF"]
)
def test_bytes_that_are_no_picture_are_rejected(content):
    assert "not a picture of PNG" in reason(data_uri(content))


def test_a_format_outside_the_list_is_rejected():
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, format="TIFF")
    assert "not a picture of PNG" in reason(data_uri(buffer.getvalue()))


def test_a_small_file_that_unfolds_into_a_huge_picture_is_rejected():
    assert load_media(item(data_uri(png_header(MAX_PIXELS // 1000, 1000))), base_dir=None)
    assert "pixels" in reason(data_uri(png_header(MAX_PIXELS // 1000 + 1, 1000)))


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_picture_that_pillow_calls_a_bomb_is_rejected(side):
    reason(data_uri(png_header(side, side)))
