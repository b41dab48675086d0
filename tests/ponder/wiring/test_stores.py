"""Tests for ponder/wiring/stores.py: what settings name, opened."""

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from catalog.ingest.message_parsing import Decoders
from ponder.settings import Settings
from ponder.wiring import stores
from ponder.wiring.stores import kafka_config, message_decoders, open_living_search
from recall.deletions import WithoutDeleted
from recall.exact import ExactIndex


def decode(value):
    return {"item_id": value.decode()}


def test_decoders_of_messages_are_found_by_their_names(monkeypatch):
    monkeypatch.setitem(sys.modules, "shop_avro", SimpleNamespace(decode_item=decode))
    found = message_decoders(Settings(item_decoder="shop_avro:decode_item"))
    assert found == Decoders(item=decode)


@pytest.mark.parametrize(
    "name", ["no_such_module:decode", "json:no_such_function", "json:__name__"]
)
def test_a_decoder_that_is_no_function_is_refused_by_its_setting(name):
    with pytest.raises(ValueError, match=f"event_decoder must name a function.* got '{name}'"):
        message_decoders(Settings(event_decoder=name))


def test_topics_and_group_are_those_of_the_settings():
    settings = Settings(
        kafka="broker:9092",
        kafka_item_topic="shop.items",
        kafka_event_topic="shop.clicks",
        kafka_group="staging",
    )
    config = kafka_config(settings)
    assert set(config.tables()) == {"shop.items", "shop.clicks"}
    assert config.client_options()["group_id"] == "staging"


def test_one_topic_for_items_and_events_is_refused():
    settings = Settings(kafka="broker:9092", kafka_item_topic="all", kafka_event_topic="all")
    with pytest.raises(ValueError, match="must differ"):
        kafka_config(settings)


def test_what_answers_from_a_server_leaves_out_what_the_lake_has_deleted(monkeypatch, tmp_path):
    empty = SimpleNamespace(refresh=lambda: False)
    monkeypatch.setattr(stores, "open_index", lambda settings: nullcontext(empty))
    with open_living_search(Settings(home=tmp_path, milvus="http://milvus:19530")) as index:
        assert isinstance(index, WithoutDeleted)
    with open_living_search(Settings(home=tmp_path)) as index:
        assert isinstance(index, ExactIndex)
