"""Tests for catalog/records.py: what is let in, and under which reason the rest is kept out."""

import hashlib
import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.records import (
    Item,
    RawRecord,
    RecordError,
    content_hash,
    parse_event,
    parse_item,
)

T1 = datetime(2026, 1, 1, tzinfo=UTC)
ITEM = {"item_id": "a", "updated_at": "2026-01-01T00:00:00Z"}
EVENT = {
    "event_id": "e",
    "user_id": "u",
    "item_id": "a",
    "action": "like",
    "ts": "2026-01-01T00:00:00Z",
}


def raw(value, **fields):
    body = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return RawRecord(topic="t", partition=0, offset=0, value=body, **fields)


def rejection(parse, record):
    with pytest.raises(RecordError) as caught:
        parse(record)
    return caught.value.stage, str(caught.value)


def test_an_item_of_bytes_and_one_of_values_are_the_same():
    values = {"item_id": "a", "updated_at": T1, "tags": ["x"]}
    row = RawRecord(topic="t", partition=0, offset=0, value=values)
    assert parse_item(raw(ITEM | {"tags": ["x"], "unknown": 1})) == parse_item(row)


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"not json"])
def test_bytes_that_are_no_json_fail_to_decode(value):
    assert rejection(parse_item, raw(value))[0] == "decode"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"item_id": ""}, "item_id must have 1 to 256 characters, got 0"),
        ({"item_id": "x" * 257}, "got 257"),
        ({"item_id": "a\n"}, "must be printable"),
        ({"item_id": 7}, "Expected `str`, got `int`"),
        ({"updated_at": "2026-01-01T00:00:00"}, "updated_at must carry a time zone"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at must lie in the years 1 to 9999"),
        ({"text": "x" * 100_001}, "text must have at most 100000 characters"),
        ({"tags": [str(n) for n in range(201)]}, "at most 200"),
        ({"attributes": {"a": [1]}}, "Expected"),
    ],
)
def test_an_item_that_breaks_a_rule_names_it(fields, words):
    stage, reason = rejection(parse_item, raw(ITEM | fields))
    assert stage == "validate"
    assert words in reason


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"action": "fly"}, "Invalid enum value 'fly'"),
        ({"user_id": ""}, "user_id must have"),
        ({"position": -1}, "position must be in"),
        ({"ts": "2026-01-01T00:00:00"}, "ts must carry a time zone"),
    ],
)
def test_an_event_that_breaks_a_rule_names_it(fields, words):
    stage, reason = rejection(parse_event, raw(EVENT | fields))
    assert stage == "validate"
    assert words in reason


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_json_cannot_hold_are_kept_out(number):
    item = {"item_id": "a", "updated_at": T1, "attributes": {"price": number}}
    record = RawRecord(topic="t", partition=0, offset=0, value=item)
    assert "attribute 'price' must be a finite number" in rejection(parse_item, record)[1]
    event = EVENT | {"ts": T1, "value": number}
    record = RawRecord(topic="t", partition=0, offset=0, value=event)
    assert "value must be a finite number" in rejection(parse_event, record)[1]


def test_a_record_without_a_value_deletes_the_item_of_its_key_at_its_time():
    item = parse_item(raw(None, key=b"a", timestamp=T1))
    assert (item.item_id, item.deleted, item.updated_at) == ("a", True, T1)
    assert rejection(parse_item, raw(None, timestamp=T1))[0] == "validate"
    assert "must have a timestamp" in rejection(parse_item, raw(None, key=b"a"))[1]
    assert rejection(parse_event, raw(None, key=b"a", timestamp=T1))[0] == "decode"


@settings(deadline=None)
@given(
    st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_no_bytes_make_anything_but_a_record_or_a_reason(value):
    stages = set()
    for parse in (parse_item, parse_event):
        try:
            parse(raw(value))
        except RecordError as error:
            stages.add(error.stage)
    assert stages <= {"decode", "validate"}


def test_the_digest_covers_what_is_seen_and_nothing_else():
    seen = {"title": "x", "text": "t", "category": "c", "tags": ["p", "q"], "audio_uri": "a.wav"}

    def digest(image_hash="h", **fields):
        return content_hash(Item(**{"item_id": "a", "updated_at": T1} | seen | fields), image_hash)

    unseen = {"item_id": "b", "created_at": T1, "attributes": {"price": 1}, "image_uri": "x.png"}
    assert digest() == digest(tags=["q", "p", "p"], **unseen)
    others = [digest(**{name: None if name != "tags" else ["p"]}) for name in seen]
    assert len({digest(), digest(None), *others}) == 2 + len(seen)


texts = st.text(max_size=20) | st.none()


@settings(deadline=None)
@given(texts, texts, texts, st.lists(st.text(max_size=5), max_size=4), texts, texts)
def test_the_digest_is_that_of_canonical_json(title, text, category, tags, audio, image_hash):
    """The standard library's writer gives the form in which digests were stored from the start."""
    item = Item(
        item_id="a",
        updated_at=T1,
        title=title,
        text=text,
        category=category,
        tags=tags,
        audio_uri=audio,
    )
    seen = {
        "title": title,
        "text": text,
        "category": category,
        "tags": sorted(set(tags)),
        "image": image_hash,
        "audio": audio,
    }
    canonical = json.dumps(seen, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    expected = hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()
    assert content_hash(item, image_hash) == expected


def test_a_row_is_kept_as_json():
    values = {"updated_at": T1, "item_id": "a", "image": b"GIF"}
    record = RawRecord(topic="t", partition=0, offset=0, value=values)
    assert json.loads(record.raw_bytes()) == {
        "item_id": "a",
        "updated_at": "2026-01-01T00:00:00+00:00",
        "image": "R0lG",
    }
