"""Tests for recall/catalogue_store.py: what it holds equals the lake after every change."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.maintenance import compact
from catalog.lake.tables import ITEMS
from recall import catalogue_store
from recall.catalogue_store import CatalogueStore
from recall.errors import Unavailable

START = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ("red", "blue", "mug", "hose", "lamp")


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def items(*rows):
    """Rows of (item_id, title, day of creation, hour of update, attributes or None: deleted)."""
    return pl.DataFrame(
        [
            dict.fromkeys(ITEMS.columns)
            | {
                "item_id": item_id,
                "title": None if attributes is None else title,
                "tags": [],
                "attributes": json.dumps(attributes or {}),
                "created_at": START + timedelta(days=day),
                "updated_at": START + timedelta(days=100, hours=hour),
                "deleted": attributes is None,
                "content_hash": title,
            }
            for item_id, title, day, hour, attributes in rows
        ],
        schema=ITEMS.schema,
    )


def found(store, text):
    return [match.item_id for match in store.lexical(text, limit=99)]


def assert_equals_the_lake(store, lake):
    living = lake.read(ITEMS).filter(~pl.col("deleted"))
    newest = living.sort("created_at", "item_id", descending=[True, False])["item_id"].to_list()
    assert store.newest(99) == newest
    for word in WORDS:
        holding = living.filter(pl.col("title").str.contains(word))["item_id"]
        assert set(found(store, word)) == set(holding), word


@pytest.mark.parametrize("seed", [0, 1])
def test_it_equals_the_lake_after_every_change(lake, seed):
    rng = np.random.default_rng(seed)
    store = CatalogueStore(lake)
    for step in range(8):
        rows = [
            (
                f"i{rng.integers(12)}",
                " ".join(rng.choice(WORDS, 2)),
                int(rng.integers(4)),
                step - int(rng.integers(2)),
                None if rng.random() < 0.3 else {"price": 1},
            )
            for _ in range(rng.integers(1, 9))
        ]
        lake.upsert_items(items(*rows))
        if step % 3 == 2:
            compact(lake)
        store.refresh()
        assert_equals_the_lake(store, lake)
    assert store.refresh() is False


def test_newest_items_are_looked_for_again_when_too_many_of_them_went(lake, monkeypatch):
    monkeypatch.setattr(catalogue_store, "NUM_NEWEST", 4)
    monkeypatch.setattr(catalogue_store, "MIN_NEWEST", 2)
    lake.upsert_items(items(*((f"i{n}", "mug", n, 0, {}) for n in range(9))))
    store = CatalogueStore(lake)
    store.refresh()
    assert store.newest(9) == ["i8", "i7", "i6", "i5"]
    lake.upsert_items(items(*((f"i{n}", "", n, 1, None) for n in (8, 7, 6))))
    store.refresh()
    assert store.newest(9) == ["i5", "i4", "i3", "i2"]


def test_words_that_were_not_read_yet_are_unavailable_and_the_rest_is_empty(lake):
    store = CatalogueStore(lake)
    with pytest.raises(Unavailable, match="try again later, or without hybrid"):
        store.lexical("mug", limit=1)
    assert (store.newest(5), store.hints(["price"])) == ([], [])
    store.refresh()  # of a lake without items
    assert (store.lexical("mug", limit=1), store.newest(5)) == ([], [])


def test_an_attribute_that_no_item_has_gets_a_hint_with_the_nearest(lake):
    lake.upsert_items(items(("a", "mug", 0, 0, {"color": "red", "price": 3})))
    store = CatalogueStore(lake)
    store.refresh()
    assert store.hints(["price", "color"]) == []
    near, far = store.hints(["colour", "x"])
    assert near == (
        "no item has the attribute 'colour', so a condition on it lets nothing pass; "
        "the nearest that items have: 'color'"
    )
    assert far.endswith("items have: 'color', 'price'")
    lake.upsert_items(items(("b", "mug", 0, 0, {"colour": "red"})))
    store.refresh()
    assert store.hints(["colour"]) == []
