"""Tests for catalog/ingest/snapshot.py: a catalogue without change times against the lake."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog.ingest.rows import item_frame
from catalog.ingest.snapshot import absent_tombstones, date_changes
from catalog.lake.tables import ITEMS
from catalog.records import Item

SOURCE = datetime(2000, 1, 1, tzinfo=UTC)
STORED = datetime(2020, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rows(updated_at, **titles):
    records = [
        Item(item_id=item_id, updated_at=updated_at, title=title, deleted=title is None)
        for item_id, title in titles.items()
    ]
    return item_frame(records, [None] * len(records))


def dates(frame):
    return dict(frame.select("item_id", "updated_at").rows())


def test_only_what_differs_is_dated_by_the_landing():
    stored = rows(STORED, same="x", edited="old", back=None)
    dated = date_changes(rows(SOURCE, new="x", same="x", edited="new", back="x"), stored, now=NOW)
    assert dates(dated) == {"new": SOURCE, "same": STORED, "edited": NOW, "back": NOW}
    assert dated.schema == ITEMS.schema


def test_a_change_wins_even_over_a_stored_time_in_the_future():
    future = NOW + timedelta(days=1)
    dated = date_changes(rows(SOURCE, a="new"), rows(future, a="old"), now=NOW)
    assert dates(dated) == {"a": future + timedelta(microseconds=1)}


def test_items_that_a_snapshot_lacks_become_tombstones():
    stored = rows(STORED, **{f"i{n}": "x" for n in range(10)})
    gone = absent_tombstones(stored, {f"i{n}" for n in range(9)}, now=NOW, max_delete_share=0.1)
    assert gone.select("item_id", "deleted", "updated_at").rows() == [("i9", True, NOW)]


def test_deleting_more_than_the_share_is_refused():
    stored = rows(STORED, **{f"i{n}": "x" for n in range(10)})
    with pytest.raises(ValueError, match=r"lacks 2 of the lake's 10 items, first 'i8'.*raise max"):
        absent_tombstones(stored, {f"i{n}" for n in range(8)}, now=NOW, max_delete_share=0.1)


def test_what_is_deleted_already_is_not_missed():
    stored = rows(STORED, a="x", b=None)
    assert absent_tombstones(stored, {"a"}, now=NOW, max_delete_share=0.0).is_empty()


def test_an_empty_lake_lacks_nothing():
    gone = absent_tombstones(ITEMS.empty(), set(), now=NOW, max_delete_share=0.0)
    assert gone.is_empty()
    assert gone.schema == ITEMS.schema
