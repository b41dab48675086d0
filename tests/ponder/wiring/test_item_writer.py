"""Tests for ponder/wiring/item_writer.py: a change over HTTP lands, is embedded and is found."""

import base64
import io
import shutil
from contextlib import contextmanager, nullcontext

import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from catalog.ingest.dead_letters import LetterFilter
from catalog.lake.item_codes import codes_in_use, codes_of
from catalog.lake.maintenance import history
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS
from embedder.codes.config import CodesConfig
from ponder.settings import Settings
from ponder.steps.codes import learn_codes
from ponder.steps.dead_letters import replay_letters
from ponder.steps.embed import embed_shard
from ponder.steps.progress import ignore_progress
from ponder.wiring.service import open_item_writer, open_recall
from ponder.wiring.stores import open_index, open_lake, open_search
from recall.deletions import WithoutDeleted
from recall.errors import IndexFailed
from recall.live_version import LiveVersion
from serving.app import create_app

AT = "2026-03-01T10:00:00Z"
LATER = "2026-03-02T10:00:00Z"


@pytest.fixture(scope="module")
def settings(shop_home, tmp_path_factory):
    """A shop of its own, to be changed."""
    return Settings(home=shutil.copytree(shop_home, tmp_path_factory.mktemp("copy") / "home"))


@contextmanager
def open_milvus(settings):
    """As `open_living_search` opens a server."""
    with open_index(settings) as index:
        living = WithoutDeleted(index, open_lake(settings))
        living.refresh()
        yield living


@pytest.fixture(scope="module", params=[open_milvus, open_search], ids=["milvus", "exact"])
def opened(request, settings):
    lake = open_lake(settings)

    def embed_one(encoder, item_id):
        embed_shard(lake, encoder, (item_id, item_id), progress=ignore_progress)

    with request.param(settings) as index:
        recall = open_recall(settings, index)
        writer = open_item_writer(settings, recall, embed_one)
        with TestClient(create_app(recall, writer=writer)) as client:
            yield client, recall, lake


@pytest.fixture
def client(opened):
    return opened[0]


@pytest.fixture
def lake(opened):
    return opened[2]


def found(client, text, **filter):
    query = {"text": text, "filter": filter, "reasoning": "never", "top_k": 50}
    reply = client.post("/v1/recall", json=query)
    assert reply.status_code == 200, reply.text
    return {candidate["item_id"] for candidate in reply.json()["candidates"]}


def stored(lake, item_id):
    return lake.read(ITEMS).filter(item_id=item_id).to_dicts()[0]


def letters(lake):
    return lake.read(DEAD_LETTERS).filter(topic="items/http")


def test_an_item_that_is_put_is_found_at_once_and_says_where_it_came_from(opened):
    client, recall, lake = opened
    kite = f"kite/{type(recall.index).__name__}"  # an id may have any characters
    body = {"title": "a blue kite", "category": "toys", "attributes": {"price": 3}}
    reply = client.put(f"/v1/items/{kite}", json=body).json()
    assert (reply["item_id"], reply["outcome"], reply["searchable"]) == (kite, "inserted", True)
    assert reply["version"] == lake.read(EMBEDDINGS)["model_version"][0]
    assert reply["message"] == ""
    assert kite in found(client, "a blue kite", attributes={"price": 3})
    assert stored(lake, kite)["title"] == "a blue kite"
    assert history(lake, ITEMS, limit=1)[0].origin == "http"
    again = client.put(f"/v1/items/{kite}", json=body | {"updated_at": reply["updated_at"]}).json()
    assert (again["outcome"], again["searchable"]) == ("unchanged", True)


def test_an_item_that_is_put_has_codes_and_a_digit_at_once(opened, settings):
    client, recall, lake = opened
    version = recall.live.get()
    learn_codes(settings, CodesConfig(num_levels=1, num_codes=2))
    item_id = f"coded/{type(recall.index).__name__}"

    def embed_one(encoder, item_id):
        embed_shard(lake, encoder, (item_id, item_id), progress=ignore_progress)

    writer = open_item_writer(settings, recall, embed_one)
    assert writer.put(item_id, b'{"title": "a green kite"}').searchable
    codes = codes_of(lake, codes_in_use(lake, version)).filter(pl.col("item_id") == item_id)
    [(codes, digit)] = codes.select("codes", "digit").collect().rows()
    assert digit >= 0
    assert item_id in found(client, "a green kite", code_prefixes=[str(codes[0])])
    assert item_id not in found(client, "a green kite", code_prefixes=[str(1 - codes[0])])


def test_an_item_that_changes_is_found_as_it_is_now_also_where_only_a_filter_can_tell(client):
    client.put("/v1/items/m1", json={"title": "a red mug", "attributes": {"price": 5}})
    assert found(client, "mug", attributes={"price": 5}) == {"m1"}
    client.put("/v1/items/m1", json={"title": "a red mug", "attributes": {"price": 6}})
    assert found(client, "mug", attributes={"price": 5}) == set()
    assert found(client, "mug", attributes={"price": 6}) == {"m1"}


def test_an_item_that_is_deleted_is_found_no_longer_and_may_come_back(client, lake):
    client.put("/v1/items/gone", json={"title": "a lamp"})
    assert "gone" in found(client, "a lamp")
    reply = client.delete("/v1/items/gone").json()
    assert (reply["outcome"], reply["searchable"]) == ("deleted", True)
    assert "gone" not in found(client, "a lamp")
    assert stored(lake, "gone")["deleted"]
    client.put("/v1/items/gone", json={"title": "a lamp"})
    assert "gone" in found(client, "a lamp")
    assert client.delete("/v1/items/never-there").json()["outcome"] == "deleted"


def test_an_older_record_changes_nothing(client, lake):
    client.put("/v1/items/m2", json={"title": "new", "updated_at": LATER})
    reply = client.put("/v1/items/m2", json={"title": "old", "updated_at": AT}).json()
    assert (reply["outcome"], reply["searchable"]) == ("stale", False)
    assert "newer record" in reply["message"]
    assert stored(lake, "m2")["title"] == "new"


def test_an_image_that_comes_inline_is_landed_and_embedded(client, lake):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    reply = client.put("/v1/items/shown", json={"title": "a square", "image_uri": uri}).json()
    assert reply["searchable"]
    assert stored(lake, "shown")["image_hash"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"title": 7}', "validate: Expected `str | null`, got `int`"),
        (b"{cut off", "decode: not JSON"),
        (b"[]", "validate: Expected `object`, got `array`"),
        (b'{"updated_at": "2026-01-01T00:00:00"}', "updated_at must carry a time zone"),
        (b'{"title": "x", "image_uri": "../secret.png"}', "has no data folder; send it inline"),
        (b'{"title": "x", "image_uri": "http://127.0.0.1/x.png"}', "media: "),
    ],
)
def test_what_cannot_be_landed_is_refused_and_a_dead_letter(client, lake, body, words):
    before = len(letters(lake))
    reply = client.put("/v1/items/bad", content=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (422, "invalid_item")
    assert words in reply.json()["error"]["message"]
    kept = letters(lake).sort("offset")
    assert len(kept) == before + 1
    assert kept["key"][-1] == b"bad"
    assert "bad" not in set(lake.read(ITEMS)["item_id"])


def test_a_body_that_names_another_item_is_refused(client, lake):
    before = len(letters(lake))
    reply = client.put("/v1/items/m1", json={"item_id": "m2", "title": "x"})
    assert reply.status_code == 422
    assert "item_id must be that of the address, 'm1', got 'm2'" in reply.text
    assert len(letters(lake)) == before


def test_a_dead_letter_is_replayed_as_json_and_reads_no_file(client, lake, settings, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    client.put("/v1/items/late", content=b'{"title": "x", "image_uri": "secret.png"}')
    configured = settings.replace(item_decoder="json:loads", data=str(tmp_path))
    replayed = replay_letters(configured, LetterFilter(topic="items/http"), data=tmp_path)
    assert replayed.landed == 0
    assert any("has no data folder" in reason for reason in replayed.reasons)


def test_a_change_that_the_index_cannot_take_now_is_landed_all_the_same(opened):
    client, recall, lake = opened

    class Frozen:
        def request(self):
            return nullcontext()

        def live_version(self):
            raise IndexFailed(message="frozen")

        def discard(self, item_ids):
            raise IndexFailed(message="frozen")

    kept = f"kept-{type(recall.index).__name__}"
    index, live = recall.index, recall.live
    recall.index, recall.live = Frozen(), LiveVersion(Frozen(), recall.encoder)
    try:
        put = client.put(f"/v1/items/{kept}", json={"title": "a rope"}).json()
        deleted = client.delete(f"/v1/items/{kept}").json()
    finally:
        recall.index, recall.live = index, live
    assert (put["outcome"], put["searchable"], put["version"]) == ("inserted", False, None)
    assert "searchable after the next ponder index" in put["message"]
    assert (deleted["outcome"], deleted["searchable"]) == ("deleted", False)
    assert stored(lake, kept)["deleted"]
