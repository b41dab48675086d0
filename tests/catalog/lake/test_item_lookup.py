"""Tests for catalog/lake/item_lookup.py: remembered items are those of the lake."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.item_lookup import ItemDetails, ItemLookup
from catalog.lake.tables import ITEMS

START = datetime(2026, 1, 1, tzinfo=UTC)


def items(hour, **titles):
    """Rows of items by id and title; None deletes one."""
    rows = [
        dict.fromkeys(ITEMS.columns)
        | {"item_id": item_id, "title": title, "tags": [], "attributes": "{}"}
        | {"created_at": START, "updated_at": START + timedelta(hours=hour)}
        | {"deleted": title is None, "content_hash": title, "image_hash": title and title * 2}
        for item_id, title in titles.items()
    ]
    return pl.DataFrame(rows, schema=ITEMS.schema)


class CountingLookup(ItemLookup):
    """Tells how many items were read from the lake."""

    num_read = 0

    def _read(self, item_ids):
        self.num_read += len(item_ids)
        return super()._read(item_ids)


@pytest.fixture
def filled(lake):
    lake.upsert_items(items(0, a="x", b="y", c=None))
    return lake


def titles(lookup, *item_ids):
    return {item_id: item.title for item_id, item in lookup.find(item_ids).items()}


def test_living_items_are_found_and_read_once(filled):
    lookup = CountingLookup(filled)
    lookup.refresh()
    b = ItemDetails("y", None, None, "yy", None, None, tags=[], attributes="{}", created_at=START)
    assert lookup.find(["b", "c", "nobody"]) == {"b": b}
    assert titles(lookup, "a", "b") == {"a": "x", "b": "y"}
    assert titles(lookup, "a", "b") == {"a": "x", "b": "y"}
    assert titles(lookup, "b", "c", "nobody") == {"b": "y"}
    assert lookup.num_read == 4  # what is not there is remembered too
    assert lookup.image_hashes(["a", "b", "c"]) == {"a": "xx", "b": "yy"}


def test_what_changed_is_read_again_and_the_rest_is_not(filled):
    lookup = CountingLookup(filled)
    lookup.refresh()
    titles(lookup, "a", "b")
    filled.upsert_items(items(1, a="z", d="new"))
    filled.upsert_items(items(2, d=None))
    assert lookup.refresh() is True
    assert lookup.refresh() is False
    assert titles(lookup, "a", "b", "d") == {"a": "z", "b": "y"}
    assert lookup.num_read == 2 + 2


def test_what_was_read_while_it_changed_is_not_remembered(filled):
    class Overtaken(ItemLookup):
        def _read(self, item_ids):
            read = super()._read(item_ids)
            filled.upsert_items(items(1, a="z"))
            self.refresh()
            return read

    lookup = Overtaken(filled)
    lookup.refresh()
    assert titles(lookup, "a") == {"a": "x"}  # as of the last refresh
    assert titles(lookup, "a") == {"a": "z"}


def test_no_more_are_remembered_than_allowed_and_the_last_used_stay(filled):
    lookup = CountingLookup(filled, max_items=1)
    lookup.refresh()
    titles(lookup, "a")
    titles(lookup, "b")
    titles(lookup, "b")
    assert lookup.num_read == 2
    titles(lookup, "a")
    assert lookup.num_read == 3
