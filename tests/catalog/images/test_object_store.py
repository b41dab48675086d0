"""Tests for object_store.py: a folder as the store, and S3's protocol against a web server."""

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from catalog.images.image import ImageConfig, ImageUnavailable
from catalog.images.object_store import ObjectStoreReader, s3_arguments
from catalog.records import RecordError

BODY = bytes(range(256)) * 40


@pytest.fixture
def reader(tmp_path):
    """Makes a reader of the bucket "shop", which holds `a b/red.png`; "secrets" lies beside it."""
    (tmp_path / "shop" / "a b").mkdir(parents=True)
    (tmp_path / "shop" / "a b" / "red.png").write_bytes(BODY)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_bytes(b"secret")
    store = SubTreeFileSystem(str(tmp_path), LocalFileSystem())

    def make(**options):
        config = ImageConfig(**{"buckets": ("shop",)} | options)
        return ObjectStoreReader(config, open_store=lambda config: store)

    return make


def reason(reader, uri, *, temporary=False):
    with pytest.raises(RecordError) as caught:
        reader.fetch(uri)
    assert caught.value.stage == "media"
    assert isinstance(caught.value, ImageUnavailable) is temporary
    return str(caught.value)


def test_an_object_comes_back_as_it_was(reader):
    assert reader().fetch("s3://shop/a b/red.png") == BODY
    assert reader().fetch("S3://shop/a b/red.png") == BODY


def test_no_bucket_is_read_unless_it_is_allowed(reader):
    assert "got 'secrets'" in reason(reader(), "s3://secrets/key")
    assert "got 'shop'" in reason(reader(buckets=()), "s3://shop/a b/red.png")
    assert "allowed bucket" in reason(reader(), "s3:///key")


@pytest.mark.parametrize(
    "key", ["../secrets/key", "a b/../../secrets/key", "./x", "a//x", "", "a/"]
)
def test_a_key_may_not_lead_out_of_its_bucket(reader, key):
    assert "plain path" in reason(reader(), f"s3://shop/{key}")


@pytest.mark.parametrize("key", ["none.png", "a%20b/red.png"])
def test_an_object_that_is_not_there_is_a_final_answer(reader, key):
    assert "must name an object" in reason(reader(), f"s3://shop/{key}")


def test_the_size_limit_includes_its_bound(reader):
    uri = "s3://shop/a b/red.png"
    assert reader(max_bytes=len(BODY)).fetch(uri) == BODY
    assert f"got {len(BODY)}" in reason(reader(max_bytes=len(BODY) - 1), uri)


def test_options_come_in_the_names_that_deltalake_takes():
    options = {
        "AWS_ACCESS_KEY_ID": "id",
        "aws_secret_access_key": "secret",
        "AWS_SESSION_TOKEN": "token",
        "region": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://store:9000",
        "AWS_ALLOW_HTTP": "true",
        "timeout": "30s",
    }
    assert s3_arguments(options) == {
        "access_key": "id",
        "secret_key": "secret",
        "session_token": "token",
        "region": "eu-west-1",
        "endpoint_override": "http://store:9000",
    }
    assert s3_arguments({"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}) == {
        "force_virtual_addressing": True
    }


def test_s3_is_spoken_to_a_store_and_its_troubles_are_told(web, answer):
    options = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": web.url(""),
    }
    reader = ObjectStoreReader(
        ImageConfig(buckets=("shop",), store_options=options, read_timeout_s=0.5)
    )

    def red(connection):
        is_head = web.requests[-1].startswith("HEAD")
        head = answer(b"", f"Content-Length: {len(BODY)}", "ETag: x")
        body_range = f"Content-Range: bytes 0-{len(BODY) - 1}/{len(BODY)}"
        connection.sendall(head if is_head else answer(BODY, body_range, status=206))

    web.routes["/shop/red.png"] = red
    web.routes["/shop/denied.png"] = answer(b"", status=403)
    web.routes["/shop/down.png"] = answer(b"", status=503)
    assert reader.fetch("s3://shop/red.png") == BODY
    assert "AWS4-HMAC-SHA256 Credential=id/" in web.requests[0]
    assert "must name an object" in reason(reader, "s3://shop/none.png")
    assert "ACCESS_DENIED" in reason(reader, "s3://shop/denied.png", temporary=True)
    web.requests.clear()
    assert "503" in reason(reader, "s3://shop/down.png", temporary=True)
    assert web.paths() == ["/shop/down.png"]  # trying again is the fetcher's work
