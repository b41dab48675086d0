"""Tests for catalog/lake/duplicates.py: rows that another program appended are made one again."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from deltalake import write_deltalake

from catalog.ingest.rows import item_frame
from catalog.lake.duplicates import duplicated_keys, merge_duplicates
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS, MEDIA, TABLES
from catalog.records import Item

START = datetime(2026, 1, 1, tzinfo=UTC)


def append(lake, table, rows):
    """As a writer would that does not look what is there."""
    write_deltalake(f"{lake.uri}/{table.name}", rows, mode="append")


def items(*rows):
    records = [
        Item(item_id=item_id, title=title, updated_at=START + timedelta(hours=hour))
        for item_id, title, hour in rows
    ]
    return item_frame(records, [None] * len(records))


def test_of_a_doubled_item_the_newest_record_stays_with_its_earliest_birth(lake):
    append(lake, ITEMS, items(("it's", "old", 0), ("b", "b", 0)))
    append(lake, ITEMS, items(("it's", "new", 2), ("c", "c", 0)))
    append(lake, ITEMS, items(("it's", "mid", 1)))
    assert duplicated_keys(lake.scan(ITEMS), ITEMS).rows() == [("it's",)]
    version = lake.version(ITEMS)
    assert merge_duplicates(lake, ITEMS) == 1
    assert lake.version(ITEMS) == version + 1
    stored = lake.read(ITEMS, ["item_id", "title", "created_at"]).sort("item_id")
    assert stored.rows() == [("b", "b", START), ("c", "c", START), ("it's", "new", START)]
    assert merge_duplicates(lake, ITEMS) == 0
    assert lake.version(ITEMS) == version + 1


@pytest.mark.parametrize("table", [MEDIA, EMBEDDINGS, DEAD_LETTERS], ids=lambda t: t.name)
def test_every_table_is_made_whole_by_its_whole_key(lake, table):
    nulls = pl.DataFrame({name: [None] * 3 for name in table.schema}, schema=table.schema)
    distinct = pl.int_range(3).cast(pl.String)
    rows = nulls.with_columns(distinct.cast(table.schema[name]).alias(name) for name in table.key)
    append(lake, table, rows)
    append(lake, table, rows.head(2))
    assert merge_duplicates(lake, table) == 2
    assert lake.read(table).sort(table.key).equals(rows)


def test_many_duplicates_are_merged_in_parts(lake, monkeypatch):
    monkeypatch.setattr("catalog.lake.lake.REPLACED_ROWS", 2)
    rows = items(*((f"i{n}", "t", 0) for n in range(5)))
    append(lake, ITEMS, rows)
    append(lake, ITEMS, rows)
    assert merge_duplicates(lake, ITEMS) == 5
    assert lake.read(ITEMS)["item_id"].sort().to_list() == ["i0", "i1", "i2", "i3", "i4"]


def test_tables_that_do_not_exist_hold_no_duplicates(lake):
    for table in TABLES.values():
        assert merge_duplicates(lake, table) == 0
    assert lake.versions() == dict.fromkeys(TABLES)
