"""Tests for clips over HTTP: asked by, and looked at."""

import base64
import io

import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from catalog.lake.item_lookup import ItemLookup
from catalog.lake.tables import ITEMS, MEDIA
from recall.search import Recall
from serving.app import create_app
from serving.catalogue import Catalogue
from serving.state import State
from tests.clips import bar_clip, sound_only
from tests.index_fixtures import KnownHistories
from tests.serving.shop import IMAGE_HASH, item, write_shop

VECTORS = {"rose": [1, 0, 0, 0], "film": [0, 0, 0, 1], "both": [0.6, 0, 0, 0.8]}


@pytest.fixture(scope="module")
def clip():
    return bar_clip(num_frames=12, fps=1)


@pytest.fixture(scope="module")
def client(index, rows, encoder, clip, tmp_path_factory):
    lake = write_shop(tmp_path_factory.mktemp("lake"))
    lake.insert_new(MEDIA, pl.DataFrame({"hash": ["film-hash"], "bytes": [clip]}))
    film = item("film", 5, video_hash="film-hash", gallery_hashes=[IMAGE_HASH, "lost"])
    lake.upsert_items(pl.DataFrame([film], schema=ITEMS.schema))
    index.sync("clips", rows(**VECTORS), dim=4)
    index.promote("clips")
    recall = Recall(index, lambda version: encoder, KnownHistories())
    app = create_app(
        recall,
        items=ItemLookup(lake),
        catalogue=Catalogue(lake),
        state=State(lake, lambda: "clips"),
    )
    with TestClient(app) as opened:
        yield opened


def asked(client, **query):
    return client.post("/v1/recall", json=query)


def text_of(data):
    return base64.b64encode(data).decode()


def ids(reply):
    assert reply.status_code == 200, reply.text
    return [found["item_id"] for found in reply.json()["candidates"]]


def test_a_clip_is_asked_by_alone_and_beside_a_text(client, clip):
    assert ids(asked(client, video_base64=text_of(clip))) == ["film", "both", "rose"]
    assert ids(asked(client, video_base64=text_of(clip), text="red"))[0] == "both"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"video_base64": "%%%"}, "video_base64 must be base64"),
        ({"video_base64": text_of(b"GIF")}, "video_base64: a clip must be an MP4, WebM or GIF"),
        ({"video_base64": text_of(sound_only())}, "must have a video stream"),
        (
            {"video_base64": text_of(bar_clip(num_frames=121, fps=1))},
            "video_base64: a clip may last at most 120 s, got 121.0",
        ),
    ],
)
def test_a_clip_that_cannot_be_read_is_an_invalid_query(client, query, words):
    reply = asked(client, **query)
    assert reply.status_code == 422
    assert words in reply.json()["error"]["message"]


def test_a_clip_goes_with_no_item_and_no_user(client, clip):
    reply = asked(client, video_base64=text_of(clip), item_id="rose")
    assert reply.status_code == 422
    assert "got video_base64, item_id" in reply.text


def test_an_item_leads_to_its_clip_and_its_further_images(client):
    shown = client.get("/v1/items/film").json()
    assert (shown["image"], shown["clip"]) == (None, "/v1/clips/film-hash")
    assert shown["gallery"] == [f"/v1/images/{IMAGE_HASH}", "/v1/images/lost"]
    reply = client.get(shown["clip"])
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/webp")
    moving = Image.open(io.BytesIO(reply.content))
    assert (moving.format, moving.size) == ("WEBP", (64, 48))
    assert moving.n_frames == 8  # of the twelve that a model would read
    [found] = asked(client, item_id="film", details=True, top_k=1).json()["candidates"]
    assert found["clip"] is None  # of another item, which has none


def test_a_candidate_names_its_clip(client, clip):
    found = asked(client, video_base64=text_of(clip), details=True).json()["candidates"]
    assert [one["clip"] for one in found] == ["/v1/clips/film-hash", None, None]


@pytest.mark.parametrize("key", ["nowhere", IMAGE_HASH])
def test_what_is_no_clip_is_not_found(client, key):
    assert client.get(f"/v1/clips/{key}").status_code == 404
