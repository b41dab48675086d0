"""Tests for catalog/ingest/folder.py: which files of a folder are read, and what one record is."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from catalog.images.image import load_image
from catalog.ingest.folder import FolderSource, has_records
from catalog.record_parsing import parse_event, parse_item
from catalog.records import RawRecord, RecordError

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
    assert load_image(item.image_uri, base_dir=None) == image
    assert bare.value == {"item_id": "b", "updated_at": START}
    assert (full.offset, bare.offset) == (0, 1)


def test_parquet_rows_are_numbered_on_across_slices(tmp_path, monkeypatch):
    monkeypatch.setattr("catalog.ingest.parquet_rows.SLICE_ROWS", 2)
    pl.DataFrame({"item_id": list("abcde")}).write_parquet(tmp_path / "items.parquet")
    records = list(FolderSource(tmp_path).items())
    assert [(r.offset, r.value["item_id"]) for r in records] == list(enumerate("abcde"))


def test_a_folder_with_neither_items_nor_events_has_no_records(tmp_path):
    (tmp_path / "queries.jsonl").write_text("{}\n")
    assert not has_records(tmp_path)
    (tmp_path / "events.parquet").touch()
    assert has_records(tmp_path)


LINE = b'{"event_id": "e", "user_id": "u", "item_id": "a", "ts": "2026-01-01T00:00:00Z"}\n'


def test_folders_by_day_and_folders_that_are_files_are_read_in_order(tmp_path):
    read = (
        "day=2026-01-01/events.jsonl",
        "events/2026/01/01/part.jsonl",
        "events/date=2026-01-01/hour=7/part-0.jsonl",
        "events-old.jsonl/part-0.jsonl",
        "events.jsonl",
    )
    left = (
        "events/_temporary/part.jsonl",
        "events/.hidden.jsonl",
        "events/_SUCCESS",
        "x/events.jsonl",
    )
    for name in (*read, *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(LINE)
    assert [record.topic for record in FolderSource(tmp_path).events()] == sorted(
        read, key=lambda name: name.split("/")
    )


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_folder_gives_its_records_the_text_field_it_names_unless_they_have_it(tmp_path, form):
    rows = [json.loads(LINE), json.loads(LINE) | {"event_id": "f", "action": "like"}]
    for name in ("action=click", "action=__HIVE_DEFAULT_PARTITION__", "position=3"):
        folder = tmp_path / "events" / name
        folder.mkdir(parents=True)
        if form == "jsonl":
            (folder / "part.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pl.DataFrame(rows, schema=[*rows[1]]).write_parquet(folder / "part.parquet")
    seen, refused = [], []
    for record in FolderSource(tmp_path).events():
        try:
            event = parse_event(record)
            seen.append((record.topic.split("/")[1], event.event_id, event.action, event.position))
        except RecordError as error:
            refused.append(str(error))
    assert seen == [
        ("action=__HIVE_DEFAULT_PARTITION__", "f", "like", None),
        ("action=click", "e", "click", None),
        ("action=click", "f", "like", None),
        ("position=3", "f", "like", None),
    ]
    assert refused == ["Object missing required field `action`"] * 2


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("items-0.parquet", b""),
        ("items-0.parquet", b"PAR1 and no more PAR1"),
        ("items-0.parquet", b"<html>gone</html>"),
        ("items-0.jsonl", "\ufeff{}".encode("utf-16")[:-1]),
    ],
)
def test_a_broken_file_is_refused_by_its_name_and_the_others_are_read(tmp_path, name, data, caplog):
    (tmp_path / name).write_bytes(data)
    (tmp_path / "items-1.jsonl").write_bytes(
        b'{"item_id": "a", "updated_at": "2026-01-01T00:00:00Z"}'
    )
    broken, whole = FolderSource(tmp_path).items()
    with pytest.raises(RecordError, match="cannot be read from row 0 on"):
        parse_item(broken)
    assert (broken.topic, parse_item(whole).item_id) == (name, "a")
    assert name in caplog.text


def test_a_file_in_another_form_is_warned_of(tmp_path, caplog):
    (tmp_path / "events").mkdir()
    for name in ("part-0.json.gz", "part-1.csv", "part-2.jsonl"):
        (tmp_path / "events" / name).write_bytes(LINE)
    assert len(list(FolderSource(tmp_path).events())) == 1
    assert "files=2 are not read" in caplog.text


@pytest.mark.parametrize("column", ["bytes", "struct", "path"])
def test_an_image_may_be_bytes_or_what_hugging_face_keeps(tmp_path, image, column):
    (tmp_path / "a.png").write_bytes(image)
    value = {
        "bytes": image,
        "struct": {"bytes": image, "path": None},
        "path": {"bytes": None, "path": "a.png"},
    }[column]
    schema = {"bytes": pl.Binary, "path": pl.String}
    dtype = pl.Binary if column == "bytes" else pl.Struct(schema)
    frame = pl.DataFrame({"item_id": ["a"], "updated_at": [START]}).with_columns(
        pl.Series("image", [value], dtype=dtype)
    )
    frame.write_parquet(tmp_path / "items.parquet")
    [record] = FolderSource(tmp_path).items()
    assert load_image(parse_item(record).image_uri, base_dir=tmp_path) == image
