"""Tests for catalog/lake/maintenance.py: what is removed, and that the past can still be read."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

import polars as pl
import pytest

from catalog.ingest.rows import item_frame
from catalog.lake.maintenance import (
    Retention,
    Vacuum,
    compact,
    drop_unreferenced_media,
    history,
    vacuum,
)
from catalog.lake.tables import ITEMS, MEDIA
from catalog.lake.time_travel import history_properties
from catalog.records import Item

START = datetime(2026, 1, 1, tzinfo=UTC)
NONE_KEPT = Retention(hours=0, force=True)


def items(title, *item_ids, image=None):
    records = [Item(item_id=item_id, updated_at=START, title=title) for item_id in item_ids]
    return item_frame(records, [image] * len(records))


def newer(rows, hours):
    return rows.with_columns(pl.col("updated_at") + pl.duration(hours=hours))


def media(**images):
    return pl.DataFrame(list(images.items()), schema=MEDIA.schema, orient="row")


def moment():
    """Now, told apart from the commits around it: Delta counts in milliseconds."""
    sleep(0.02)
    now = datetime.now(UTC)
    sleep(0.02)
    return now


def data_files(lake, table):
    return {path for path in lake.file_bytes(table) if path.endswith(".parquet")}


def test_compaction_makes_one_file_of_many_and_changes_no_row(lake):
    for n in range(5):
        lake.upsert_items(items("t", f"i{n}"))
    before = lake.read(ITEMS).sort("item_id")
    done = compact(lake)
    assert (done["items"].removed, done["items"].added) == (5, 1)
    assert list(done) == ["items", "item_versions"]
    assert lake.read(ITEMS).sort("item_id").equals(before)
    assert compact(lake)["items"].removed == 0


def test_a_vacuum_by_default_keeps_what_the_last_month_needs(lake):
    lake.upsert_items(items("old", "a"))
    then = moment()
    lake.upsert_items(newer(items("new", "a"), 1))
    compact(lake)
    assert vacuum(lake)["items"].files == 0
    assert lake.read(ITEMS, ["title"], as_of=then).rows() == [("old",)]
    assert lake.read(ITEMS, ["title"]).rows() == [("new",)]


def replaced_days_ago(lake, days):
    """The file of `items` that the last commit replaced, made to look as if that was long ago."""
    folder = Path(lake.uri) / "items"
    log = folder / "_delta_log" / f"{lake.version(ITEMS):020d}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    [removed] = [action["remove"] for action in actions if "remove" in action]
    removed["deletionTimestamp"] -= days * 24 * 3_600_000
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))
    born = datetime.now(UTC) - timedelta(days=days + 100)
    os.utime(folder / removed["path"], (born.timestamp(),) * 2)
    lake.delta(ITEMS).create_checkpoint()  # Delta forgets here what its table need not remember
    return folder / removed["path"]


@pytest.mark.parametrize(("days", "is_kept"), [(10, True), (29, True), (31, False)])
def test_a_file_goes_so_long_after_it_was_replaced_and_not_after_it_was_written(
    lake, days, is_kept
):
    lake.upsert_items(items("old", "a"))
    lake.upsert_items(newer(items("new", "a"), 1))
    file = replaced_days_ago(lake, days)
    vacuum(lake)
    assert file.exists() is is_kept


def test_a_dry_run_counts_the_files_and_bytes_that_a_vacuum_then_removes(lake):
    lake.upsert_items(items("old", "a"))
    lake.upsert_items(newer(items("new", "a"), 1))
    before = lake.file_bytes(ITEMS)
    told = vacuum(lake, NONE_KEPT, dry_run=True)["items"]
    assert lake.file_bytes(ITEMS) == before
    done = vacuum(lake, NONE_KEPT)["items"]
    gone = before.keys() - lake.file_bytes(ITEMS).keys()
    assert told == done
    assert (done.files, done.bytes) == (len(gone), sum(before[path] for path in gone))
    assert len(data_files(lake, ITEMS)) == 1
    assert lake.read(ITEMS, ["title"]).rows() == [("new",)]


def test_files_of_a_killed_writer_are_removed_too(lake, tmp_path):
    lake.upsert_items(items("t", "a"))
    (tmp_path / "lake" / "items" / "part-of-nothing.parquet").write_bytes(b"123")
    assert vacuum(lake)["items"].files == 0  # its writer may still be at work
    assert vacuum(lake, NONE_KEPT)["items"].bytes == 3
    assert lake.read(ITEMS).height == 1


def test_a_moment_that_was_vacuumed_away_is_an_error_and_not_another_moment(lake):
    lake.upsert_items(items("old", "a"))
    then = moment()
    lake.upsert_items(newer(items("new", "a"), 1))
    vacuum(lake, NONE_KEPT)
    with pytest.raises(FileNotFoundError):
        lake.read(ITEMS, as_of=then)


def test_a_moment_that_the_log_has_forgotten_is_an_error_that_tells_where_it_begins(lake):
    lake.upsert_items(items("old", "a"))
    then = moment()
    lake.upsert_items(newer(items("new", "a"), 1))
    lake.delta(ITEMS).create_checkpoint()
    for version in (0, 1):
        (Path(lake.uri) / "items" / "_delta_log" / f"{version:020d}.json").unlink()
    with pytest.raises(ValueError, match="within the history of the table, which begins at 20"):
        lake.read(ITEMS, as_of=then)
    assert lake.read(ITEMS, ["title"], as_of=moment()).rows() == [("new",)]


def test_a_vacuum_that_keeps_longer_makes_the_log_remember_longer(lake):
    lake.upsert_items(items("t", "a"))
    vacuum(lake, Retention(hours=90 * 24))
    stored = lake.delta(ITEMS).metadata().configuration
    assert stored == history_properties(90 * 24)
    assert stored["delta.deletedFileRetentionDuration"] == "interval 2160 hours"
    version = lake.version(ITEMS)
    vacuum(lake, Retention(hours=90 * 24))
    assert lake.version(ITEMS) == version
    vacuum(lake, NONE_KEPT)  # once, by force; the table goes on to remember a week
    assert lake.delta(ITEMS).metadata().configuration == history_properties(7 * 24)


def test_files_that_are_gone_are_not_counted_again(lake):
    lake.upsert_items(items("t", "a"))
    lake.upsert_items(newer(items("u", "a"), 1))
    assert vacuum(lake, NONE_KEPT)["items"].files == 1
    assert vacuum(lake, NONE_KEPT)["items"] == Vacuum(files=0, bytes=0)


def test_a_retention_below_a_week_must_be_forced():
    Retention(hours=168)
    with pytest.raises(ValueError, match="at least 168 hours must be kept, got 167"):
        Retention(hours=167)
    with pytest.raises(ValueError, match="must be >= 0, got -1"):
        Retention(hours=-1, force=True)


def test_only_old_images_that_no_item_shows_are_dropped(lake):
    lake.insert_new(MEDIA, media(shown=b"1", old=b"2"))
    lake.upsert_items(items("t", "a", image="shown"))
    week_old = moment()
    lake.insert_new(MEDIA, media(young=b"3"))
    now = week_old + timedelta(days=7)
    keep = Retention(hours=168)
    assert drop_unreferenced_media(lake, keep, now=now, dry_run=True) == 1
    assert lake.read(MEDIA).height == 3
    assert drop_unreferenced_media(lake, keep, now=now) == 1
    assert sorted(lake.read(MEDIA)["hash"]) == ["shown", "young"]
    assert sorted(lake.read(MEDIA, as_of=week_old)["hash"]) == ["old", "shown"]


def test_images_stay_when_the_lake_is_younger_than_the_retention(lake):
    assert drop_unreferenced_media(lake, now=START) == 0
    lake.insert_new(MEDIA, media(a=b"1"))
    assert drop_unreferenced_media(lake, now=datetime.now(UTC)) == 0


def test_history_tells_what_every_commit_did_newest_first(lake):
    assert history(lake, ITEMS) == []
    lake.upsert_items(items("t", "a", "b"))
    lake.upsert_items(newer(items("u", "a"), 1))
    lake.delete(ITEMS, pl.DataFrame({"item_id": ["b"]}))
    told = [(c.version, c.written, c.deleted) for c in history(lake, ITEMS)]
    assert told == [(3, 0, 1), (2, 1, 0), (1, 2, 0), (0, 0, 0)]
    assert len(history(lake, ITEMS, limit=2)) == 2
