"""Tests for features/table.py and features/export.py on a small log."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from catalog.lake.tables import EVENTS, TIME
from features.centred_embeddings import CentredEmbeddings
from features.export import Export, read_export, read_manifest
from features.pages import pages_of
from features.table import build_features

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUM_ITEMS = 12


def log(num_requests=9):
    """One request every eight hours, five items each, the first of them clicked."""
    rng = np.random.default_rng(0)
    rows = []
    for r in range(num_requests):
        ts = NOON + timedelta(hours=8 * r)
        for place, item in enumerate(rng.choice(NUM_ITEMS, 5, replace=False)):
            row = {"request_id": f"r{r}", "user_id": f"u{r % 2}", "item_id": f"i{item}"}
            rows.append(row | {"action": "impression", "ts": ts})
            if place == 0:
                rows.append(row | {"action": "click", "ts": ts + timedelta(minutes=1)})
    return pl.DataFrame(
        [row | {"event_id": str(i)} for i, row in enumerate(rows)], schema=EVENTS.schema
    )


def items():
    return pl.DataFrame(
        {"item_id": [f"i{k}" for k in range(NUM_ITEMS)], "category": "x", "created_at": NOON},
        schema_overrides={"created_at": TIME},
    )


def embeddings(version="v1"):
    vectors = np.random.default_rng(1).normal(size=(NUM_ITEMS, 4))
    return pl.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(NUM_ITEMS)],
            "vector": pl.Series(vectors.tolist(), dtype=pl.List(pl.Float32)),
            "model_version": version,
        }
    )


@pytest.fixture
def table():
    events = log()
    pages = pages_of(events)
    return build_features(pages.impressions, pages.events, items(), embeddings())


def write_export(table, folder):
    export = Export(folder, table.features, table.centring, table.config)
    for _, frame in table.frame.group_by(pl.col("ts").dt.date(), maintain_order=True):
        export.write_day(table.with_frame(frame), settled=True)
    return export.finish({})


def files_of(folder):
    named = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
    return {p: p.stat().st_mtime_ns for p in named}


def test_table_keeps_the_impressions_and_their_order(table):
    impressions = pages_of(log()).impressions
    assert_frame_equal(table.frame.select(impressions.columns), impressions)


def test_later_events_change_nothing(table):
    events = log()
    now = NOON + timedelta(hours=40)
    shown = pages_of(events).impressions.filter(pl.col("ts") <= now)
    centred = CentredEmbeddings.of(embeddings(), table.centring)
    early = build_features(
        shown, events.filter(pl.col("ts") < now), items(), embeddings(), centred=centred
    )
    assert_frame_equal(early.frame, table.frame.head(len(shown)))


def test_export_reads_back_as_it_was(table, tmp_path):
    write_export(table, tmp_path / "features")
    got = read_export(tmp_path / "features")
    assert_frame_equal(got.frame, table.frame)
    assert (got.features, got.centring) == (table.features, table.centring)


def test_days_have_their_own_folder_and_the_manifest_counts(table, tmp_path):
    manifest = write_export(table, tmp_path)
    days = sorted(p.name for p in tmp_path.glob("date=*"))
    assert days == ["date=2026-03-01", "date=2026-03-02", "date=2026-03-03", "date=2026-03-04"]
    # Requests at 12 and 20 o'clock on the first day, three on each day after, two on the last.
    assert [p["num_rows"] for p in manifest["partitions"]] == [10, 15, 15, 5]
    on_disk = read_manifest(tmp_path)
    assert (on_disk["num_rows"], on_disk["num_requests"]) == (45, 9)
    assert on_disk["model_version"] == "v1"
    assert on_disk["first_ts"] == "2026-03-01 12:00:00+00:00"


def test_unchanged_export_is_not_written_again(table, tmp_path):
    write_export(table, tmp_path)
    before = files_of(tmp_path)
    write_export(table, tmp_path)
    assert files_of(tmp_path) == before


def test_only_the_changed_day_is_written_again(table, tmp_path):
    write_export(table, tmp_path)
    before = files_of(tmp_path)
    last = pl.col("ts") == table.frame["ts"].max()
    changed = table.frame.with_columns(relevance=pl.when(last).then(2).otherwise("relevance"))
    frame = changed.cast({"relevance": pl.Int32})
    write_export(table.with_frame(frame), tmp_path)
    kept = {p: t for p, t in files_of(tmp_path).items() if before.get(p) == t}
    assert {p.parent.name for p in kept} == {
        "date=2026-03-01",
        "date=2026-03-02",
        "date=2026-03-03",
    }
    assert len(files_of(tmp_path)) == len(before)
    assert_frame_equal(read_export(tmp_path).frame, frame)


def test_crash_before_the_manifest_leaves_the_old_export(table, tmp_path):
    write_export(table, tmp_path)
    (tmp_path / "date=2026-03-02" / "part-half.parquet").write_bytes(b"half of a file")
    assert_frame_equal(read_export(tmp_path).frame, table.frame)
    write_export(table, tmp_path)
    assert not list(tmp_path.rglob("part-half.parquet"))


def test_changed_file_is_refused(table, tmp_path):
    write_export(table, tmp_path)
    next(tmp_path.rglob("*.parquet")).write_bytes(b"")
    with pytest.raises(ValueError, match="must be the file its manifest names"):
        read_export(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: manifest["features"][0].update(source="something else"),
        lambda manifest: manifest["centring"]["mean"].__setitem__(0, 0.5),
        lambda manifest: manifest.update(num_rows=1),
        lambda manifest: manifest["partitions"].pop(),
    ],
)
def test_edited_manifest_is_refused(table, tmp_path, edit):
    write_export(table, tmp_path)
    manifest = read_manifest(tmp_path)
    edit(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="got an edited one; export again"):
        read_export(tmp_path)


def test_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(ValueError, match="export first"):
        read_export(tmp_path)


def test_export_of_an_older_code_is_refused(table, tmp_path):
    write_export(table, tmp_path)
    manifest = read_manifest(tmp_path)
    manifest["space"] = manifest.pop("centring")  # how it was called before
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="must be of this code, got one of an older code; export"):
        read_export(tmp_path)
