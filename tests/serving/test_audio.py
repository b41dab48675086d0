"""Tests for sounds over HTTP: asked by, and listened to."""

import base64

import polars as pl
import pytest
from fastapi.testclient import TestClient

from catalog.audio.decoding import decode
from catalog.audio.limits import DEFAULT_LIMITS, DEFAULT_SAMPLING
from catalog.lake.item_lookup import ItemLookup
from catalog.lake.tables import ITEMS, MEDIA
from recall.search import Recall
from serving.app import create_app
from serving.catalogue import Catalogue
from serving.state import State
from tests.clips import bar_clip
from tests.index_fixtures import KnownHistories
from tests.serving.shop import IMAGE_HASH, item, write_shop
from tests.sounds import pitch_hz, tone_file

VECTORS = {"rose": [1, 0, 0, 0], "bell": [0, 1, 0, 0], "both": [0.6, 0.8, 0, 0]}


@pytest.fixture(scope="module")
def sound():
    return tone_file("flac", hz=900.0, seconds=11.0, rate_hz=16_000)


@pytest.fixture(scope="module")
def client(index, rows, encoder, sound, tmp_path_factory):
    lake = write_shop(tmp_path_factory.mktemp("lake"))
    lake.insert_new(MEDIA, pl.DataFrame({"hash": ["bell-hash"], "bytes": [sound]}))
    bell = item("bell", 5, audio_hash="bell-hash")
    lake.upsert_items(pl.DataFrame([bell], schema=ITEMS.schema))
    index.sync("sounds", rows(**VECTORS), dim=4)
    index.promote("sounds")
    recall = Recall(index, lambda version: encoder, KnownHistories())
    app = create_app(
        recall,
        items=ItemLookup(lake),
        catalogue=Catalogue(lake),
        state=State(lake, lambda: "sounds"),
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


def test_a_sound_is_asked_by_alone_and_beside_a_text(client, sound):
    assert ids(asked(client, audio_base64=text_of(sound))) == ["bell", "both", "rose"]
    assert ids(asked(client, audio_base64=text_of(sound), text="red"))[0] == "both"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"audio_base64": "%%%"}, "audio_base64 must be base64"),
        ({"audio_base64": text_of(b"RIFF")}, "audio_base64: a sound must be a WAV, FLAC, Ogg or"),
        ({"audio_base64": text_of(bar_clip(num_frames=2))}, "must be a WAV, FLAC, Ogg or MP3"),
        (
            {"audio_base64": text_of(tone_file("mp3", seconds=121.0, rate_hz=16_000))},
            "audio_base64: a sound may last at most 120 s",
        ),
    ],
)
def test_a_sound_that_cannot_be_read_is_an_invalid_query(client, query, words):
    reply = asked(client, **query)
    assert reply.status_code == 422
    assert words in reply.json()["error"]["message"]


def test_a_sound_goes_with_no_item_and_no_user(client, sound):
    reply = asked(client, audio_base64=text_of(sound), item_id="rose")
    assert reply.status_code == 422
    assert "got audio_base64, item_id" in reply.text


def test_an_item_leads_to_the_start_of_its_sound_encoded_anew(client, sound):
    shown = client.get("/v1/items/bell").json()
    assert shown["audio"] == "/v1/audio/bell-hash"
    reply = client.get(shown["audio"])
    assert (reply.status_code, reply.headers["content-type"]) == (200, "audio/mpeg")
    heard = decode(reply.content, DEFAULT_LIMITS, DEFAULT_SAMPLING)
    assert len(heard.samples) / 16_000 == pytest.approx(10.0, abs=0.05)
    assert pitch_hz(heard.samples, 16_000) == pytest.approx(900, abs=1)
    assert client.get("/v1/items/rose").json()["audio"] is None


def test_a_candidate_names_its_sound(client, sound):
    found = asked(client, audio_base64=text_of(sound), details=True).json()["candidates"]
    assert [one["audio"] for one in found] == ["/v1/audio/bell-hash", None, None]


@pytest.mark.parametrize("key", ["nowhere", IMAGE_HASH])
def test_what_is_no_sound_is_not_found(client, key):
    assert client.get(f"/v1/audio/{key}").status_code == 404
