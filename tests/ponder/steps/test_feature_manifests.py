"""Tests for ponder/steps/features.py: which features an export holds, and what it says of them."""

import json
import logging
import shutil
from dataclasses import replace
from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyarrow import parquet

from catalog.lake.tables import EVENTS
from features.behaviour_spaces import BehaviourSpaces
from features.centred_embeddings import CentredEmbeddings
from features.daily_sums import days_of
from features.export import read_export, read_manifest
from features.groups import DEFAULT_GROUPS, GROUPS
from features.reference import Reference, References
from features.served import ServedFeatures
from ponder.settings import Settings
from ponder.steps import features as steps
from ponder.steps.export_contents import describe_export, diff_exports
from ponder.steps.feature_references import make_reference
from ponder.steps.features import (
    Days,
    export_features,
)
from ponder.wiring.stores import open_lake
from tests.ponder.steps.exports import (
    MORNING,
    NUM_DAYS,
    NUM_ITEMS,
    change_the_present,
    contents,
    export,
)


@pytest.fixture
def settings(exports_home, tmp_path):
    return Settings(home=shutil.copytree(exports_home, tmp_path / "home"))


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
