"""Tests for message_parsing.py: formats other than JSON, and what their decoders trip over."""

import json
import struct
from collections import namedtuple
from functools import partial

import pytest

from catalog.ingest.batch import Batch
from catalog.ingest.message_parsing import Decoders, parse_event_messages, parse_item_messages
from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS

Message = namedtuple("Message", "topic partition offset key value timestamp")
T1_S = 1_767_225_600
T1_MS = T1_S * 1_000
T1 = "2026-01-01T00:00:00Z"


def packed(item_id, title):
    """Two strings behind their lengths, and seconds since 1970: a format of this file's own."""
    item_id, title = item_id.encode(), title.encode()
    return struct.pack(
        f">IB{len(item_id)}sB{len(title)}s", T1_S, len(item_id), item_id, len(title), title
    )


def unpack(value):
    (seconds, size), rest = struct.unpack_from(">IB", value), value[5:]
    title = rest[size + 1 : size + 1 + rest[size]].decode()
    time = f"2026-01-01T00:00:{seconds - T1_S:02}Z"
    return {"item_id": rest[:size].decode(), "title": title, "updated_at": time}


def unpack_event(value):
    names = ("event_id", "user_id", "item_id", "action")
    return dict(zip(names, value.decode().split("|"), strict=True)) | {"ts": T1}


def message(value, offset=0):
    return Message("items", 0, offset, b"k", value, T1_MS)


def test_a_decoder_lands_what_is_not_json_and_its_failures_keep_the_bytes(lake, fake_broker):
    wrong = [b"", b"\0", packed("a", "x")[:6], packed("", "x")]
    fake_broker.send("items", packed("a", "mug"), *wrong, None, keys=[b"k"] * 5 + [b"b"])
    fake_broker.send("events", b"e1|u|a|click", b"e2|u|a|dance", b"e3")
    report = consume(
        KafkaConfig(bootstrap_servers="host:9092"),
        lake,
        decoders=Decoders(item=unpack, event=unpack_event),
        consumer_factory=fake_broker,
    )
    landed = lake.read(ITEMS, ["item_id", "title", "deleted"]).sort("item_id")
    assert landed.rows() == [("a", "mug", False), ("b", None, True)]
    assert lake.read(EVENTS)["event_id"].to_list() == ["e1"]
    letters = lake.read(DEAD_LETTERS).sort("topic", "offset")
    assert letters["value"].to_list() == [b"e2|u|a|dance", b"e3", *wrong]
    assert letters["stage"].to_list() == ["validate", *["decode"] * 4, "validate"]
    assert report.landed.rejected.total() == 6


def test_half_a_surrogate_pair_from_a_decoder_is_a_dead_letter_and_no_crash():
    batch = Batch()
    fields = {"item_id": "a", "updated_at": T1, "title": "\ud800"}
    parse_item_messages([message(b"x")], batch, decoder=lambda _: fields)
    assert batch.items().is_empty()
    assert batch.dead_letters()["reason"][0].startswith("text must be Unicode")


@pytest.mark.parametrize(
    "stumble", [KeyError("a"), RecursionError(), ValueError("\ud800"), OSError()]
)
def test_whatever_a_decoder_raises_costs_its_message_only(stumble):
    def decoder(value):
        if value == b"bad":
            raise stumble
        return {"item_id": "a", "updated_at": T1}

    batch = Batch()
    parse_item_messages([message(b"bad"), message(b"good")], batch, decoder=decoder)
    assert batch.items()["item_id"].to_list() == ["a"]
    assert batch.dead_letters()["value"].to_list() == [b"bad"]


@pytest.mark.parametrize("time_ms", [10**18, 2**63 - 1, 253_402_300_800_000, -1, None])
def test_a_time_that_is_no_time_stops_nothing(lake, fake_broker, time_ms):
    good = {"item_id": "a", "updated_at": T1}
    event = {"event_id": "e", "user_id": "u", "item_id": "a", "action": "click", "ts": T1}
    fake_broker.send("items", b"{", json.dumps(good).encode(), timestamp=time_ms)
    fake_broker.send("items", None, keys=[b"a"], timestamp=time_ms)
    fake_broker.send("events", json.dumps(event).encode(), timestamp=time_ms)
    consume(KafkaConfig(bootstrap_servers="host:9092"), lake, consumer_factory=fake_broker)
    assert lake.read(EVENTS).height == 1
    assert lake.read(ITEMS)["deleted"].to_list() == [False]  # its death cannot be dated
    letters = lake.read(DEAD_LETTERS).sort("offset")
    assert letters["offset"].to_list() == [0, 2]
    assert letters["timestamp"].to_list() == [None, None]


def test_an_event_without_a_value_is_a_dead_letter():
    batch = Batch()
    partial(parse_event_messages, decoder=None)([message(None)], batch)
    assert batch.dead_letters()["stage"].to_list() == ["decode"]
