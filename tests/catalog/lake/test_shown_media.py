"""Tests for catalog/lake/shown_media.py: everything that an item shows is found."""

from datetime import UTC, datetime

import polars as pl
import pytest

from catalog.audit import audit_lake
from catalog.ingest.rows import item_frame
from catalog.lake.shown_media import read_media, shown_hashes
from catalog.lake.tables import ITEMS, MEDIA
from catalog.records import NO_FURTHER_MEDIA, FurtherMedia, Item

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def rows():
    items = [Item(item_id=name, updated_at=NOW, image_uris=["1", "2", "3"]) for name in "abc"]
    further = [FurtherMedia(gallery=("g", "h"), video="v"), NO_FURTHER_MEDIA, FurtherMedia()]
    items[1:] = [Item(item_id=name, updated_at=NOW) for name in "bc"]
    return item_frame(items, ["i", "g", None], further)


def test_every_image_and_clip_of_an_item_is_a_row(rows):
    found = shown_hashes(rows.lazy()).collect()
    assert sorted(found.rows()) == [("a", "g"), ("a", "h"), ("a", "i"), ("a", "v"), ("b", "g")]


def test_media_of_some_items_are_read_and_what_is_lost_is_missing(lake, rows):
    lake.insert_new(MEDIA, pl.DataFrame({"hash": ["g", "v", "x"], "bytes": [b"g", b"v", b"x"]}))
    assert read_media(lake, rows) == {"g": b"g", "v": b"v"}
    assert read_media(lake, ITEMS.empty()) == {}


def test_an_audit_misses_a_lost_clip_and_a_lost_further_image(lake, rows):
    lake.upsert_items(rows)
    held = pl.DataFrame({"hash": ["g", "h", "i", "x"], "bytes": [b""] * 4})
    lake.insert_new(MEDIA, held)
    found = {finding.name: finding.first for finding in audit_lake(lake, model_version="m")}
    assert found["dangling_media"] == ("a",)
    assert found["unreferenced_media"] == ("x",)
