"""Tests for catalog/record_parsing.py: what is let in, and the reason that keeps the rest out."""

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.record_parsing import parse_event, parse_item
from catalog.records import RawRecord, RecordError

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
        ({"image_uris": [str(n) for n in range(17)]}, "at most 16 are taken, got 17"),
        ({"image_uris": ["a", ""]}, "image_uris must be addresses, got an empty one"),
        ({"image_uris": "a"}, "Expected `array"),
        ({"video_uri": 7}, "Expected `str"),
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


ABSENT = {
    name: None
    for name in ("created_at", "title", "text", "category", "tags", "attributes", "image_uri")
} | {"image_uris": None, "video_uri": None, "audio_uri": None, "deleted": None}
"""Every optional field of an item, as a source writes it that knows no absent ones."""


def row(value, **fields):
    return RawRecord(topic="t", partition=0, offset=0, value=value, **fields)


@pytest.mark.parametrize("form", [raw, row])
@pytest.mark.parametrize("name", ABSENT)
def test_null_is_absent_in_every_optional_field(name, form):
    assert parse_item(form(ITEM | {name: None})) == parse_item(form(ITEM))
    assert parse_item(form(ITEM | ABSENT)) == parse_item(form(ITEM))


@pytest.mark.parametrize("form", [raw, row])
def test_null_among_tags_and_attributes_is_absent_and_the_others_stay(form):
    fields = {"tags": ["b", None, "a"], "attributes": {"colour": None, "price": 3, "new": False}}
    item = parse_item(form(ITEM | fields))
    assert item.tags == ["a", "b"]
    assert item.attributes == {"price": 3, "new": False}


@pytest.mark.parametrize("name", ["request_id", "value", "position"])
def test_null_is_absent_in_every_optional_field_of_an_event(name):
    assert parse_event(raw(EVENT | {name: None})) == parse_event(raw(EVENT))


@pytest.mark.parametrize("name", ["item_id", "updated_at"])
def test_null_in_a_required_field_is_refused_by_its_name(name):
    stage, reason = rejection(parse_item, raw(ITEM | {name: None}))
    assert stage == "validate"
    assert f"$.{name}" in reason


@pytest.mark.parametrize("form", [raw, row])
@pytest.mark.parametrize(
    "fields",
    [
        ABSENT,
        {"title": 7, "tags": "x", "attributes": [1], "image_uri": {}},
        {"created_at": "yesterday"},
        {"created_at": "2026-01-01T00:00:00"},
        {"text": "x" * 100_001, "tags": [str(n) for n in range(201)]},
    ],
)
def test_of_a_tombstone_only_its_id_and_its_time_count(fields, form):
    item = parse_item(form(ITEM | fields | {"deleted": True}))
    assert (item.item_id, item.updated_at, item.deleted) == ("a", T1, True)


def test_a_tombstone_without_a_time_or_that_is_no_json_is_refused():
    assert rejection(parse_item, raw({"item_id": "a", "deleted": True}))[0] == "validate"
    cut_off = json.dumps(ITEM | {"deleted": True}).encode()[:-1]
    assert rejection(parse_item, raw(cut_off))[0] == "decode"


@pytest.mark.parametrize(("written", "place"), [("3.0", 3), ("0.0", 0), ("-0.0", 0), ("2e3", 2000)])
def test_a_whole_number_is_one_however_it_is_written(written, place):
    value = json.dumps(EVENT | {"position": "?"}).replace('"?"', written).encode()
    position = parse_event(raw(value)).position
    assert (position, type(position)) == (place, int)


@pytest.mark.parametrize("position", [3.5, -1.0, 1e300, math.nan, math.inf, "3", True])
def test_a_position_that_is_no_place_is_refused(position):
    assert rejection(parse_event, row(EVENT | {"position": position}))[0] == "validate"


def test_a_byte_order_mark_before_a_message_is_taken_off():
    value = b"\xef\xbb\xbf" + json.dumps(ITEM | {"title": None}).encode()
    assert parse_item(raw(value)) == parse_item(raw(ITEM))


def test_a_record_that_its_source_could_not_read_is_refused_with_the_reason():
    broken = raw(b"", defect="the file ends in the middle")
    for parse in (parse_item, parse_event):
        assert rejection(parse, broken) == ("decode", "the file ends in the middle")
