"""Tests for ponder/rationales.py and the reasoner's settings: rationales outlive their embedder."""

import json
import shutil

import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, ITEMS, RATIONALES
from embedder.reasoners.reasoner import Rationale
from embedder.version import SHIPPED
from ponder.rationales import LakeRationales
from ponder.settings import Settings
from ponder.settings_sources import load_settings
from ponder.steps.embed import Embedded, embed, plan
from ponder.steps.land import land_folder
from ponder.wiring import encoder as wiring
from ponder.wiring.encoder import (
    configured_reasoner,
    configured_version,
    open_encoder,
    other_reasoner,
)
from ponder.wiring.stores import open_lake


def landed(lake, **hashes):
    rows = [
        {
            "item_id": item_id,
            "title": item_id,
            "tags": [],
            "attributes": "{}",
            "deleted": False,
            "content_hash": content_hash,
        }
        for item_id, content_hash in hashes.items()
    ]
    frame = pl.DataFrame(rows, schema=ITEMS.schema)
    lake.upsert_items(frame.with_columns(updated_at=pl.datetime(2026, 1, 1, time_zone="UTC")))


def store(lake, reasoner="r", prompt_version="1"):
    return LakeRationales(lake, reasoner=reasoner, prompt_version=prompt_version)


def test_what_is_kept_is_found_by_content_and_by_no_other_reasoner_or_prompt(tmp_path):
    lake = Lake(str(tmp_path))
    landed(lake, a="h1", b="h1", c="h2")
    store(lake).keep({"h1": Rationale("why", "what", 3), "h2": Rationale("so", "that", 4)})
    keys = ["h1", "h2", "h3"]
    expected = {"h1": Rationale("why", "what", 3), "h2": Rationale("so", "that", 4)}
    assert store(lake).find(keys) == expected
    assert store(lake, "other").find(keys) == {}
    assert store(lake, prompt_version="2").find(keys) == {}
    rows = lake.read(RATIONALES).sort("item_id")
    assert rows["item_id"].to_list() == ["a", "b", "c"]  # one row for each item of the content
    assert rows.schema == RATIONALES.schema


def test_an_item_that_comes_later_with_a_known_content_needs_no_reasoning(tmp_path):
    lake = Lake(str(tmp_path))
    landed(lake, a="h1")
    store(lake).keep({"h1": Rationale("why")})
    landed(lake, a="h1", z="h1")
    assert store(lake).find(["h1"]) == {"h1": Rationale("why")}


def test_what_is_no_items_content_is_not_kept(tmp_path):
    lake = Lake(str(tmp_path))
    landed(lake, a="h1")
    store(lake).keep({"elsewhere": Rationale("why")})
    store(lake).keep({})
    assert store(lake).find(["elsewhere"]) == {}
    assert lake.read(RATIONALES).is_empty()


@pytest.fixture
def endpoint(serve):
    def reply(text, _):
        message = {"content": f"It says so.\nSummary: {(text or 'an image')[:20]}"}
        return 200, {}, json.dumps({"choices": [{"message": message}]}).encode()

    wiring._load_reasoned_encoder.cache_clear()
    yield serve(reply)
    wiring._load_reasoned_encoder.cache_clear()


def embed_all(settings):
    return sum((embed(settings, shard) for shard in plan(settings).shards), Embedded())


def test_two_embedders_share_one_reasoners_rationales(tmp_path, bazaar, endpoint):
    settings = Settings(
        home=tmp_path,
        policy="always",
        reasoner="openai:big",
        reasoner_url=endpoint.url,
    )
    land_folder(settings, bazaar)
    first = embed_all(settings)
    assert first.embedded == first.reasoned == len(endpoint.asked) > 0
    lake = open_lake(settings)
    assert set(lake.read(RATIONALES)["reasoner"]) == {"openai:big"}

    changed = Settings(
        home=tmp_path,
        policy="auto",
        model=str(copy_of_nano(tmp_path, theta=0.0)),
        reasoner="openai:big",
        reasoner_url=endpoint.url,
    )
    paid = len(endpoint.asked)
    second = embed_all(changed)
    assert second.embedded == second.reasoned == first.embedded
    assert len(endpoint.asked) == paid
    assert lake.read(EMBEDDINGS)["model_version"].n_unique() == 2
    assert len(lake.read(RATIONALES)) == first.embedded


def copy_of_nano(tmp_path, *, theta):
    folder = shutil.copytree(SHIPPED["nano"], tmp_path / "changed")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"theta": theta}))
    return folder


def test_the_configured_version_is_that_of_the_encoder_that_is_opened(tmp_path, endpoint):
    own = Settings(home=tmp_path)
    other = Settings(home=tmp_path, reasoner="openai:big", reasoner_url="http://big/v1")
    local = Settings(home=tmp_path, reasoner="model:nano", reasoner_max_tokens=40)
    versions = set()
    for settings in (own, other, local):
        encoder = open_encoder(settings)
        assert encoder.version == configured_version(settings)
        kept_under = (encoder.reasoner, encoder.prompt_version)
        assert kept_under == configured_reasoner(settings)
        assert open_encoder(settings) is encoder  # loaded once
        versions.add(encoder.version)
    assert len(versions) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reasoner": "gpt"}, "reasoner must be self, model:FOLDER_OR_HUB_ID or openai:MODEL"),
        ({"reasoner": "self:x"}, "reasoner must be self"),
        ({"reasoner": "openai:m"}, "reasoner_url must be set"),
        ({"reasoner": "model:x", "model": "st:y"}, "reads no rationales"),
    ],
)
def test_a_reasoner_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**options)


def test_the_key_is_read_from_the_environment_and_reaches_the_client(monkeypatch):
    monkeypatch.setenv("PONDER_REASONER", "openai:m")
    monkeypatch.setenv("PONDER_REASONER_URL", "http://a/v1")
    monkeypatch.setenv("PONDER_REASONER_KEY", "secret")
    monkeypatch.setenv("PONDER_REASONER_TIMEOUT_S", "2.5")
    reasoner = other_reasoner(load_settings())
    assert (reasoner.key, reasoner.timeout_s) == ("secret", 2.5)
    assert "secret" not in repr(reasoner)
