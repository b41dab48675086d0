"""Tests for catalog/lake/deleted_items.py: what goes after a deletion, and what stays."""

from datetime import UTC, datetime, timedelta

import polars as pl

from catalog.ingest.rows import item_frame
from catalog.lake.deleted_items import drop_rows_of_deleted
from catalog.lake.maintenance import Retention
from catalog.lake.tables import CODES, DEAD_LETTERS, EMBEDDINGS, ITEMS, RATIONALES
from catalog.records import Item

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = Retention()


def item(item_id, days_ago, *, deleted):
    return Item(item_id=item_id, updated_at=NOW - timedelta(days=days_ago), deleted=deleted)


def rows(table, **columns):
    return pl.DataFrame(columns).select(
        pl.col(name).cast(dtype) if name in columns else pl.lit(None, dtype).alias(name)
        for name, dtype in table.schema.items()
    )


def fill(lake, *, item_topic="items", event_topic="events"):
    """One item deleted for long, one only lately, one that lives, with all that is made of them."""
    records = [
        item("gone", 31, deleted=True),
        item("lately", 29, deleted=True),
        item("alive", 99, deleted=False),
    ]
    lake.upsert_items(item_frame(records, [None] * 3))
    ids = [record.item_id for record in records]
    made = {"item_id": ids, "content_hash": ["h"] * 3}
    lake.insert_new(EMBEDDINGS, rows(EMBEDDINGS, **made, model_version=["v"] * 3))
    lake.insert_new(
        RATIONALES, rows(RATIONALES, **made, reasoner=["r"] * 3, prompt_version=["p"] * 3)
    )
    lake.insert_new(CODES, rows(CODES, **made, codes_id=["c"] * 3))
    letters = [(item_topic, 0, "media", b"gone"), (item_topic, 1, "media", b"lately")]
    letters += [(item_topic, 2, "decode", None), (item_topic, 3, "decode", b"\xff")]
    letters += [("embed/v/gone", 0, "embed", b"gone"), (event_topic, 0, "validate", b"gone")]
    topics, offsets, stages, keys = zip(*letters, strict=True)
    lake.put_dead_letters(
        rows(
            DEAD_LETTERS,
            topic=topics,
            partition=[0] * 6,
            offset=offsets,
            stage=stages,
            reason=["bad"] * 6,
            key=keys,
            failed_at=[NOW] * 6,
        )
    )


def test_what_was_made_of_items_deleted_for_long_goes_and_nothing_else(lake):
    fill(lake)
    before = lake.versions()
    expected = {"embeddings": 1, "codes": 1, "rationales": 1, "dead_letters": 2}
    assert drop_rows_of_deleted(lake, MONTH, now=NOW, dry_run=True) == expected
    assert lake.versions() == before
    assert drop_rows_of_deleted(lake, MONTH, now=NOW) == expected
    assert sorted(lake.read(EMBEDDINGS)["item_id"]) == ["alive", "lately"]
    assert sorted(lake.read(CODES)["item_id"]) == ["alive", "lately"]
    assert sorted(lake.read(RATIONALES)["item_id"]) == ["alive", "lately"]
    left = lake.read(DEAD_LETTERS).select("topic", "offset").sort("topic", "offset").rows()
    assert left == [("events", 0), ("items", 1), ("items", 2), ("items", 3)]
    assert lake.read(ITEMS).height == 3  # the tombstone keeps older records from coming back


def test_a_retention_of_nothing_takes_all_that_is_deleted(lake):
    fill(lake)
    drop_rows_of_deleted(lake, Retention(hours=0, force=True), now=NOW)
    assert lake.read(EMBEDDINGS)["item_id"].to_list() == ["alive"]


def test_an_empty_lake_has_no_rows_of_deleted_items(lake):
    assert set(drop_rows_of_deleted(lake, MONTH, now=NOW).values()) == {0}
    assert set(lake.versions().values()) == {None}
