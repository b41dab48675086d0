"""Tests for catalog/images/image.py: inline images, files, and what must be fetched instead."""

import base64
import gc
import os
import tracemalloc
from urllib.parse import quote

import pytest

from catalog.images.check import MAX_PIXELS
from catalog.images.image import ImageConfig, data_uri, load_image
from catalog.records import RecordError


def reason(image_uri, *, base_dir=None, **options):
    with pytest.raises(RecordError) as caught:
        load_image(image_uri, base_dir=base_dir, **options)
    assert caught.value.stage == "media"
    return str(caught.value)


def test_an_inline_image_comes_back_as_it_was(image):
    assert load_image(data_uri(image), base_dir=None) == image
    encoded = base64.b64encode(image).decode()
    assert load_image(f"data:image/png;base64,{encoded}", base_dir=None) == image


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda image: base64.encodebytes(image).decode(),  # lines of 76 and a line end
        lambda image: base64.encodebytes(image).decode().replace("\n", "\r\n\t"),
        lambda image: " " + base64.b64encode(image).decode() + "\r\n",
        lambda image: quote(base64.encodebytes(image).decode(), safe=""),  # a URI's own escapes
    ],
)
@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:;BASE64,"])
def test_an_inline_image_may_be_wrapped_as_mime_does(image, wrapped, head):
    assert load_image(head + wrapped(image), base_dir=None) == image


def test_wrapping_does_not_count_against_the_size_of_an_image(image):
    config = ImageConfig(max_bytes=len(image))
    wrapped = "data:;base64," + base64.encodebytes(image).decode()
    assert load_image(wrapped, base_dir=None, config=config) == image


@pytest.mark.parametrize(
    "form", ["pics/a b.png", "file:pics/a%20b.png", "file://{dir}/pics/a%20b.png"]
)
def test_an_image_is_read_from_the_data_folder(tmp_path, image, form):
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a b.png").write_bytes(image)
    assert load_image(form.format(dir=tmp_path), base_dir=tmp_path) == image


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
def test_a_path_may_not_leave_the_data_folder(tmp_path, image, path):
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(image)
    os.symlink(tmp_path / "secret.png", folder / "link.png")
    assert "must stay inside" in reason(path.format(dir=tmp_path), base_dir=folder)


def test_paths_are_refused_where_there_is_no_data_folder():
    assert "no data folder" in reason("a.png")


@pytest.mark.parametrize("path", ["none.png", ".", "a\0b.png", "x" * 5000])
def test_a_path_that_names_no_file_is_rejected(tmp_path, path):
    assert path[:9] in reason(path, base_dir=tmp_path).replace("\\x00", "\0")


@pytest.mark.parametrize("uri", ["ftp://host/a.png", "media:00", "file://host/a.png", "//host/a"])
def test_other_addresses_are_refused_and_say_so(tmp_path, uri):
    assert "must be a data:, http:, https:, s3: or local file:" in reason(uri, base_dir=tmp_path)


def test_what_is_no_uri_is_refused():
    assert "must be a URI" in reason("http://[::1/a.png")


@pytest.mark.parametrize("uri", ["data:image/png;base64,%%%", "data:image/png,abc", "data:"])
def test_a_data_uri_must_be_base64(uri):
    assert "base64" in reason(uri)


def test_an_inline_image_is_not_kept_in_memory():
    tracemalloc.start()
    try:
        for number in range(20):
            reason(f"data:;base64,{number:04d}" + "A" * 1_000_000)
        gc.collect()  # what pytest keeps of the errors
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3_000_000


def test_the_size_limit_counts_encoded_bytes_and_includes_its_bound(tmp_path, image):
    (tmp_path / "a.png").write_bytes(image)
    for uri in (data_uri(image), "a.png"):
        enough = ImageConfig(max_bytes=len(image))
        assert load_image(uri, base_dir=tmp_path, config=enough) == image
        less = ImageConfig(max_bytes=len(image) - 1)
        assert f"got {len(image)}" in reason(uri, base_dir=tmp_path, config=less)


def test_the_pixel_limit_includes_its_bound(image):
    assert load_image(data_uri(image), base_dir=None, config=ImageConfig(max_pixels=12))
    small = ImageConfig(max_pixels=11)
    assert "at most 11 pixels, got 4 x 3" in reason(data_uri(image), config=small)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_bytes", 0),
        ("max_attempts", 0),
        ("per_host", 0),
        ("max_host_failures", 0),
        ("read_timeout_s", 0.0),
        ("max_redirects", -1),
        ("max_pixels", MAX_PIXELS + 1),
    ],
)
def test_limits_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        ImageConfig(**{field: value})
