"""Tests for ponder/steps/features.py: exports by day that stay as they are."""

import json
import logging
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyarrow import parquet

from catalog.ingest.rows import item_frame
from catalog.lake.tables import EMBEDDINGS, EVENTS
from catalog.records import Item
from features.behaviour_spaces import BehaviourSpaces
from features.centred_embeddings import CentredEmbeddings
from features.daily_sums import days_of
from features.export import read_export, read_manifest
from features.groups import DEFAULT_GROUPS, GROUPS, VECTOR_GROUPS
from features.reference import Reference, References
from features.schema import feature_schema
from features.served import ServedFeatures
from ponder.settings import Settings
from ponder.steps import features as steps
from ponder.steps.feature_references import make_reference
from ponder.steps.features import (
    Days,
    describe_export,
    diff_exports,
    export_days,
    export_features,
    plan_export,
)
from ponder.steps.restore import restore_features
from ponder.wiring.stores import open_lake

MORNING = datetime(2026, 3, 1, 6, tzinfo=UTC)
NUM_ITEMS, NUM_DAYS = 14, 4
HOUR = timedelta(hours=1)
RNG_SEED = 0


def item(n, *, updated_at=MORNING - 24 * HOUR, category=None, title=None, **fields):
    fields |= {"attributes": {"price": 1.5 * n}, "category": category or f"c{n % 3}"}
    return Item(item_id=f"i{n}", updated_at=updated_at, title=title or f"item {n}", **fields)


def event(n, user, item_id, action, ts, request=None):
    return {
        "event_id": f"e{n}",
        "request_id": request,
        "user_id": user,
        "item_id": item_id,
        "action": action,
        "ts": ts,
    }


def pages(day):
    """Three pages of a day, five items each; the first is liked half an hour later."""
    rng = np.random.default_rng([RNG_SEED, day])
    rows = []
    for hour in range(3):
        user, ts = f"u{hour % 2}", MORNING + timedelta(days=day, hours=4 * hour)
        for place, n in enumerate(rng.choice(NUM_ITEMS, 5, replace=False)):
            number = f"{day}-{hour}-{place}"
            given = (user, f"i{n}")
            rows.append(event(number, *given, "impression", ts, f"r{day}-{hour}"))
            if place == 0:
                liked = event(f"{number}-like", *given, "like", ts + HOUR / 2, f"r{day}-{hour}")
                rows.append(liked)
    return rows


def land_events(lake, rows, landed_at):
    lake.upsert_events(pl.DataFrame(rows, schema=EVENTS.schema), landed_at=landed_at)


def embed(lake, version="v"):
    """A vector for every content that the lake holds, of nothing but its hash and the version."""
    items = lake.scan(steps.ITEMS).filter(~pl.col("deleted")).select("item_id", "content_hash")
    rows = items.collect()
    vectors = [
        np.random.default_rng([int(digest[:8], 16), len(version)]).normal(size=8).tolist()
        for digest in rows["content_hash"]
    ]
    made = rows.with_columns(vector=pl.Series(vectors), model_version=pl.lit(version))
    others = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in EMBEDDINGS.schema.items()
        if name not in made.columns
    ]
    columns = EMBEDDINGS.schema
    lake.insert_new(EMBEDDINGS, made.with_columns(others).select(columns.names()).cast(columns))


@pytest.fixture
def settings(tmp_path):
    """A deployment whose every day landed on the evening of the day."""
    settings = Settings(home=tmp_path / "home")
    lake = open_lake(settings)
    frame = item_frame([item(n) for n in range(NUM_ITEMS)], [None] * NUM_ITEMS)
    lake.upsert_items(frame, landed_at=MORNING - HOUR)
    embed(lake)
    for day in range(NUM_DAYS):
        land_events(lake, pages(day), MORNING + timedelta(days=day, hours=16))
    return settings


def export(settings, folder, **options):
    return export_features(settings, version="v", folder=folder, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def change_the_present(lake):
    """Delete, edit, and land late what happened before: a month later."""
    later = MORNING + timedelta(days=30)
    gone = Item(item_id="i1", updated_at=later, deleted=True)
    edited = item(2, updated_at=later, category="another", title="other words")
    stale = item(3, updated_at=MORNING - 48 * HOUR, category="older", title="older words")
    lake.upsert_items(item_frame([gone, edited, stale], [None] * 3), landed_at=later)
    embed(lake)
    happened = MORNING + timedelta(days=1, hours=1)
    unliked = next(row for row in pages(0)[::-1] if row["action"] == "impression")
    late = [
        event("late1", "u0", "i4", "like", happened),
        event("late2", "u1", "i5", "impression", happened, "a page of its own"),
        unliked | {"event_id": "late3", "action": "like"},
        event("late4", "nobody before", "i7", "purchase", happened),
    ]
    land_events(lake, late, later)


def test_export_made_again_after_deletions_edits_and_late_events_is_the_same_to_the_byte(
    settings, tmp_path
):
    export(settings, tmp_path / "march")
    change_the_present(open_lake(settings))
    export(settings, tmp_path / "june")
    assert contents(tmp_path / "june") == contents(tmp_path / "march")
    found = diff_exports(tmp_path / "march", tmp_path / "june")
    assert (found.rows, found.differing, found.made_otherwise) == (60, {}, [])


def with_spaces(settings):
    """A reference in use that has clusters, and a behaviour space from the second day on."""
    log = steps.scan_log(settings, "v")
    centring = CentredEmbeddings.measured(log.vectors).centring
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1, NUM_ITEMS, 2)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    ids = pl.Series(sorted(f"i{n}" for n in range(NUM_ITEMS)))
    spaces = BehaviourSpaces(days_of(pl.Series([MORNING + timedelta(days=1)])), ids, vectors)
    clusters = ((1.0, *[0.0] * 7), (0.0, 1.0, *[0.0] * 6))
    return References(open_lake(settings)).keep(
        Reference(
            name="default",
            number=0,
            centring=replace(centring, clusters=clusters, behaviour=spaces),
            first_ts=MORNING,
            last_ts=MORNING,
            num_items=NUM_ITEMS,
            made_at=MORNING,
        )
    )


def test_an_export_compares_in_the_spaces_and_clusters_of_its_reference_whatever_came_since(
    settings, tmp_path
):
    kept = with_spaces(settings)
    assert export(settings, tmp_path / "march", groups=GROUPS).reference == "default/1"
    change_the_present(open_lake(settings))
    export(settings, tmp_path / "june", groups=GROUPS)
    assert contents(tmp_path / "june") == contents(tmp_path / "march")
    assert len(contents(tmp_path / "june")) == NUM_DAYS  # the spaces are no part of the rows
    table = read_export(tmp_path / "june")
    assert table.centring == kept.centring
    told = table.frame.group_by(pl.col("ts").dt.date() > MORNING.date()).agg(
        pl.col("behaviour_max", "match_cluster_share").count()
    )
    by_later = {later: counts for later, *counts in told.iter_rows()}
    assert by_later[False][0] == 0  # the space begins with the second day
    assert by_later[True][0] > 0
    assert by_later[True][1] > 0


def test_a_set_is_that_of_the_settings_unless_another_is_asked_for(settings, tmp_path, caplog):
    def groups_of(folder):
        manifest = read_manifest(tmp_path / folder)
        assert {feature["group"] for feature in manifest["features"]} == set(manifest["set"])
        return manifest["set"]

    export(settings, tmp_path / "default")
    assert groups_of("default") == [*DEFAULT_GROUPS]
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    export(settings, tmp_path / "asked", groups=("swing", "behaviour"))
    assert groups_of("asked") == ["swing", "behaviour"]
    assert "has nothing for features of behaviour" in caplog.text
    wide = settings.model_copy(update={"feature_set": "context,swing"})
    export(wide, tmp_path / "set")
    assert groups_of("set") == ["context", "swing"]
    assert read_export(tmp_path / "set").frame["swing_max"].count() > 0
    found = diff_exports(tmp_path / "set", tmp_path / "asked")
    assert "swing_max" not in found.differing


def test_what_changed_tells_on_the_requests_that_come_after_it(settings, tmp_path):
    lake = open_lake(settings)
    change_the_present(lake)
    ts = MORNING + timedelta(days=31)
    asked = [
        event(f"new{n} {user}", user, f"i{n}", "impression", ts, f"{user}'s")
        for user in ("u0", "nobody before")
        for n in (2, 4, 7)
    ]
    liked = event("new", "u0", "i2", "like", ts + HOUR, "u0's")
    land_events(lake, [*asked, liked], ts + 2 * HOUR)
    export(settings, tmp_path / "e")
    rows = read_export(tmp_path / "e").frame.filter(pl.col("ts") == ts)
    by_item = {row["item_id"]: row for row in rows.filter(user_id="u0").to_dicts()}
    assert by_item["i4"]["is_repeat"]  # late1
    assert by_item["i7"]["item_positives"] >= 1  # late4
    sizes = rows.filter(user_id="nobody before")["history_size"].to_list()
    assert sizes == [1, 1, 0]  # late4, which is left out of its own history


def test_days_that_have_settled_are_not_made_again(settings, tmp_path, monkeypatch):
    folder = tmp_path / "e"
    assert export(settings, folder).made == NUM_DAYS
    monkeypatch.setattr(steps, "build_features", None)  # nothing may be made
    assert export(settings, folder).made == 0


def test_stopped_export_goes_on_and_a_reader_sees_no_half_of_it(settings, tmp_path, monkeypatch):
    folder, whole = tmp_path / "e", tmp_path / "whole"
    export(settings, whole)
    monkeypatch.setattr(steps, "ROWS_AT_ONCE", 15)  # a day has as many
    stopped = []

    def stop_on_the_third(*args, **options):
        stopped.append(len(stopped))
        if len(stopped) == 3:
            raise KeyboardInterrupt
        return build(*args, **options)

    build = steps.build_features
    monkeypatch.setattr(steps, "build_features", stop_on_the_third)
    with pytest.raises(KeyboardInterrupt):
        export(settings, folder)
    with pytest.raises(ValueError, match="export first"):
        read_export(folder)
    assert export(settings, folder).made == NUM_DAYS - 2
    assert contents(folder) == contents(whole)  # however many days are made at once


def test_days_are_exported_by_themselves_and_come_to_the_same(settings, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    export(settings, whole)
    days = [date(2026, 3, 1 + n) for n in range(NUM_DAYS)]
    for n, day in enumerate(days[::-1], start=1):
        got = export(settings, parts, days=Days(first=day, last=day))
        assert (got.made, got.num_days, got.num_rows) == (1, n, 15 * n)
    assert contents(parts) == contents(whole)
    got = export(settings, tmp_path / "two", days=Days(first=days[1], last=days[2]))
    assert got.num_days == 2
    with pytest.raises(ValueError, match="first day must not be after the last"):
        Days(first=days[1], last=days[0])


def test_set_keeps_groups_of_features_and_another_set_replaces_the_export(settings, tmp_path):
    export(settings, tmp_path / "e", groups=("context",))
    table = read_export(tmp_path / "e")
    assert {feature.group for feature in table.features} == {"context"}
    assert "match_max" not in table.frame.columns
    export(settings, tmp_path / "e")
    assert "match_max" in read_export(tmp_path / "e").frame.columns
    assert len(contents(tmp_path / "e")) == NUM_DAYS


def test_export_reads_back_by_polars_pandas_and_duckdb(settings, tmp_path):
    export(settings, tmp_path / "e")
    table = read_export(tmp_path / "e").frame.sort("request_id", "item_id")
    files = str(tmp_path / "e" / "date=*" / "*.parquet")
    by_polars = pl.scan_parquet(files, hive_partitioning=False).collect()
    assert_frame_equal(by_polars.sort("request_id", "item_id"), table)
    paths = sorted(str(path) for path in (tmp_path / "e").rglob("*.parquet"))
    by_pandas = pd.concat([pd.read_parquet(path) for path in paths])
    ordered = by_pandas.sort_values(["request_id", "item_id"])
    np.testing.assert_array_equal(ordered["match_max"], table["match_max"].to_numpy())
    [(rows, total)] = duckdb.sql(
        f"SELECT count(*), sum(match_max) FROM read_parquet('{files}', hive_partitioning=false)"
    ).fetchall()
    assert (rows, total) == (len(table), pytest.approx(table["match_max"].sum(), rel=1e-5))


def test_every_file_has_what_spark_reads_and_nothing_that_it_refuses(settings, tmp_path):
    """No time in nanoseconds, times as moments in UTC, codecs and types that Spark 3 and 4 know."""
    export(settings, tmp_path / "e", groups=GROUPS)
    paths = sorted((tmp_path / "e").rglob("*.parquet"))
    assert [path.parent.name for path in paths] == [f"date=2026-03-0{1 + n}" for n in range(4)]
    types = {
        ("BYTE_ARRAY", "String"),
        ("FLOAT", "None"),
        ("BOOLEAN", "None"),
        ("INT32", "None"),
        ("INT32", "Int(bitWidth=32, isSigned=true)"),
        ("INT32", "Int(bitWidth=32, isSigned=false)"),  # a bigint there
    }
    schemas = []
    for path in paths:
        metadata = parquet.read_metadata(path)
        columns = [metadata.schema.column(n) for n in range(metadata.num_columns)]
        told = {one.name: (one.physical_type, str(one.logical_type)) for one in columns}
        moment = told.pop("ts")
        assert moment[0] == "INT64"
        assert "isAdjustedToUTC=true, timeUnit=microseconds" in moment[1]
        assert set(told.values()) <= types
        chunks = [metadata.row_group(0).column(n) for n in range(metadata.num_columns)]
        assert {chunk.compression for chunk in chunks} == {"ZSTD"}
        assert "date" not in told  # it comes from the folder's name
        schemas.append(list(told.items()))
    assert schemas == [schemas[0]] * NUM_DAYS


def test_manifest_and_card_say_how_it_was_made(settings, tmp_path):
    change_the_present(open_lake(settings))
    export(settings, tmp_path / "e")
    manifest = read_manifest(tmp_path / "e")
    assert manifest["vectors"] == "recomputed with v"
    assert (manifest["reference"]["name"], manifest["reference"]["number"]) == ("default", 1)
    assert manifest["source"]["events"] == open_lake(settings).version(EVENTS)
    assert manifest["left_out"]["late_impressions"] == 1
    assert manifest["left_out"]["late_answers"] == 1
    nulls = sum(part["nulls"].get("match_max", 0) for part in manifest["partitions"])
    assert nulls == read_export(tmp_path / "e").frame["match_max"].null_count() > 0
    text = (tmp_path / "e" / "README.md").read_text()
    assert "60 rows" in text
    assert "default/1" in text
    values = {each.name: each for each in describe_export(settings, tmp_path / "e")}
    assert values["match_max"].missing == nulls / 60
    assert json.dumps(manifest, default=str)


def test_reference_is_made_once_and_another_one_is_another_export(settings, tmp_path):
    export(settings, tmp_path / "first")
    [first] = References(open_lake(settings)).all()
    one_day = Days(first=date(2026, 3, 2), last=date(2026, 3, 2))
    second = make_reference(settings, version="v", days=one_day)
    assert (first.number, second.number) == (1, 2)
    assert (second.first_ts.date(), second.last_ts.date()) == (date(2026, 3, 2),) * 2
    assert second.id != first.id
    got = export(settings, tmp_path / "second")
    assert got.reference == "default/2"
    found = diff_exports(tmp_path / "first", tmp_path / "second")
    assert found.made_otherwise == ["reference"]
    by_edges = {name for name in found.differing if "tier" in name or "near_" in name}
    assert set(found.differing) == by_edges
    assert export(settings, tmp_path / "third", reference="other").reference == "other/1"


def test_pages_of_a_catalogue_without_vectors_are_exported_with_nothing_compared(
    settings, tmp_path
):
    with_vectors = export(settings, tmp_path / "v")
    without = export_features(settings, version="w", folder=tmp_path / "w")
    assert without.num_rows == with_vectors.num_rows
    found = diff_exports(tmp_path / "v", tmp_path / "w")
    assert found.rows == with_vectors.num_rows
    vector_features = [f.name for f in feature_schema() if f.group in VECTOR_GROUPS]
    assert {"has_vector", "match_max", "strong_max"} <= set(found.differing) <= {*vector_features}
    assert not {"history_size", "is_repeat"} & set(found.differing)
    frame = read_export(tmp_path / "w").frame
    assert frame["match_max"].null_count() == len(frame)


def test_planned_parts_written_apart_come_to_the_whole(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "scan_log", lambda given, version: scan(given, version or "v"))
    monkeypatch.setattr(steps, "ROWS_AT_ONCE", 30)
    parts = plan_export(settings, Days(first=date(2026, 3, 2)))
    assert [(part.first.day, part.last.day) for part in parts] == [(2, 3), (4, 4)]
    assert [export_days(settings, part) for part in parts] == [2, 1]
    assert plan_export(settings) == [Days(first=date(2026, 3, 1), last=date(2026, 3, 1))]
    assert export_features(settings).made == 1
    export(settings, tmp_path / "whole")
    assert contents(settings.features_folder) == contents(tmp_path / "whole")


scan = steps.scan_log


def test_features_as_served_are_exported_and_what_differs_from_recomputed_ones_is_told(
    settings, tmp_path
):
    export(settings, tmp_path / "again")
    made = read_export(tmp_path / "again")
    whole = made.with_frame(made.frame.drop("relevance", "position"))
    rows = whole.frame.with_columns(pl.col("ts") - timedelta(minutes=1))
    first = pl.int_range(pl.len()) == 0
    rows = rows.with_columns(item_rate=pl.when(first).then(0.5).otherwise("item_rate"))
    served = ServedFeatures(settings.served_folder)
    served.add(whole.with_frame(rows.with_columns(pl.col("item_rate").cast(pl.Float32))[:-1]))
    with pytest.raises(ValueError, match="must have a folder of its own"):
        export_features(settings, as_served=True)
    assert not served.flush()
    assert served.flush(now=True)
    export_features(settings, version="v", folder=tmp_path / "served", as_served=True)
    manifest = read_manifest(tmp_path / "served")
    assert manifest["vectors"] == "as served"
    assert manifest["left_out"]["not_served"] == 1
    found = diff_exports(tmp_path / "again", tmp_path / "served")
    assert (found.rows_only_one, found.rows_only_other) == (1, 0)
    assert found.made_otherwise == ["vectors"]
    assert found.differing == {"item_rate": 1}


def test_damaged_days_are_made_again_to_the_byte(settings):
    """Lost, cut off and replaced; the day that is whole is left alone."""
    export_features(settings, version="v")
    before = contents(settings.features_folder)
    assert len(before) == NUM_DAYS
    lost, cut, replaced, _ = sorted(settings.features_folder.rglob("*.parquet"))
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-9])
    replaced.write_bytes(b"something else")
    done = restore_features(settings)
    assert (done.days_made, done.is_as_before) == (3, True)
    assert contents(settings.features_folder) == before
    assert restore_features(settings).days_made == 0
