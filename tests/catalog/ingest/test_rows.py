"""Tests for catalog/ingest/rows.py: how a trusted record is written down."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

from catalog.ingest.rows import dead_letter_row, event_frame, hash_media, item_frame
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS
from catalog.records import Event, Item, RawRecord, RecordError

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
TEN_UTC = datetime(2026, 1, 1, 10, tzinfo=UTC)


def test_an_item_is_written_in_one_canonical_form():
    item = Item(item_id="a", updated_at=NOON, tags=["q", "p", "q"], attributes={"b": 1, "a": "é"})
    frame = item_frame([item], [None])
    assert frame.schema == ITEMS.schema
    row = frame.row(0, named=True)
    assert row["tags"] == ["p", "q"]
    assert row["attributes"] == '{"a":"é","b":1}'
    assert (row["created_at"], row["updated_at"]) == (TEN_UTC, TEN_UTC)


def test_a_tombstone_keeps_nothing_but_its_id_and_time():
    item = Item(item_id="a", updated_at=NOON, title="x", tags=["p"], deleted=True)
    row = item_frame([item], ["00ff"]).row(0, named=True)
    kept = {name: value for name, value in row.items() if value is not None}
    assert kept == {
        "item_id": "a",
        "tags": [],
        "attributes": "{}",
        "created_at": TEN_UTC,
        "updated_at": TEN_UTC,
        "deleted": True,
    }


def test_only_an_inline_image_gets_another_uri():
    uris = ("a.png", "data:;base64,R0lG", "DATA:;base64,R0lG")
    items = [Item(item_id="a", updated_at=NOON, image_uri=uri) for uri in uris]
    written = item_frame(items, ["00ff"] * 3)["image_uri"]
    assert written.to_list() == ["a.png", "media:00ff", "media:00ff"]


def test_an_image_is_named_by_its_sha256():
    assert hash_media(b"GIF") == hashlib.new("sha256", b"GIF").hexdigest()


def test_events_and_dead_letters_fill_their_tables():
    event = Event(event_id="e", user_id="u", item_id="a", action="view", ts=NOON)
    frame = event_frame([event])
    assert frame.schema == EVENTS.schema
    assert frame.row(0) == ("e", None, "u", "a", "view", None, None, TEN_UTC)
    record = RawRecord(topic="t", partition=1, offset=2, value=b"{", key=b"k", timestamp=NOON)
    letter = dead_letter_row(record, RecordError("decode", "not JSON"), failed_at=NOON)
    assert tuple(letter) == tuple(DEAD_LETTERS.schema.names())
    assert tuple(letter.values()) == ("t", 1, 2, "decode", "not JSON", b"k", b"{", TEN_UTC, NOON)


def test_a_reason_that_quotes_a_hostile_message_can_be_stored():
    record = RawRecord(topic="t", partition=0, offset=0, value=b"x")
    error = RecordError("decode", "bad \ud800" + "x" * 10_000)
    reason = dead_letter_row(record, error, failed_at=NOON)["reason"]
    assert reason.startswith("bad ?x")
    assert len(reason) == 1_000
