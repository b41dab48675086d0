"""Tests for catalog/ingest/folder.py: which files of a folder are read, and what one record is."""

from datetime import UTC, datetime

import polars as pl

from catalog.images.image import load_image
from catalog.ingest.folder import FolderSource, has_records
from catalog.record_parsing import parse_item
from catalog.records import RawRecord

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_files_are_read_in_order_of_their_paths_and_others_left_alone(tmp_path):
    (tmp_path / "items").mkdir()
    for name in ("items-b.jsonl", "items-a.jsonl", "items/part-0.jsonl", "queries.jsonl"):
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "events.jsonl").write_text("{}\n")
    source = FolderSource(tmp_path)
    topics = [record.topic for record in source.items()]
    assert topics == ["items/part-0.jsonl", "items-a.jsonl", "items-b.jsonl"]
    assert [record.topic for record in source.events()] == ["events.jsonl"]


def test_a_json_line_is_kept_as_bytes_and_numbered_with_the_blank_ones(tmp_path):
    (tmp_path / "items.jsonl").write_bytes(b'{"a": 1}\r\n\n  \nnot json\n{"b"')
    records = list(FolderSource(tmp_path).items())
    assert records == [
        RawRecord(topic="items.jsonl", partition=0, offset=offset, value=value)
        for offset, value in ((0, b'{"a": 1}'), (3, b"not json"), (4, b'{"b"'))
    ]


def test_a_parquet_row_is_a_record_without_its_nulls(tmp_path, image):
    frame = pl.DataFrame(
        {
            "item_id": ["a", "b"],
            "updated_at": [START, START],
            "title": ["A", None],
            "tags": [["x"], None],
            "attributes": [{"year": 1999, "colour": None}, None],
            "image": [image, None],
        }
    )
    frame.write_parquet(tmp_path / "items.parquet")
    full, bare = FolderSource(tmp_path).items()
    item = parse_item(full)
    assert (item.title, item.tags, item.attributes) == ("A", ["x"], {"year": 1999})
    assert load_image(item, base_dir=None) == image
    assert bare.value == {"item_id": "b", "updated_at": START}
    assert (full.offset, bare.offset) == (0, 1)


def test_parquet_rows_are_numbered_on_across_slices(tmp_path, monkeypatch):
    monkeypatch.setattr("catalog.ingest.folder.SLICE_ROWS", 2)
    pl.DataFrame({"item_id": list("abcde")}).write_parquet(tmp_path / "items.parquet")
    records = list(FolderSource(tmp_path).items())
    assert [(r.offset, r.value["item_id"]) for r in records] == list(enumerate("abcde"))


def test_a_folder_with_neither_items_nor_events_has_no_records(tmp_path):
    (tmp_path / "queries.jsonl").write_text("{}\n")
    assert not has_records(tmp_path)
    (tmp_path / "events.parquet").touch()
    assert has_records(tmp_path)
