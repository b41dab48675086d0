"""Tests for ponder/steps/features.py: exports by day that stay as they are."""

import shutil
from datetime import date, timedelta

import polars as pl
import pytest

from features.export import read_export
from features.groups import VECTOR_GROUPS
from features.schema import feature_schema
from ponder.settings import Settings
from ponder.steps import features as steps
from ponder.steps.export_contents import diff_exports
from ponder.steps.features import (
    Days,
    export_days,
    export_features,
    plan_export,
)
from ponder.steps.restore import restore_features
from ponder.wiring.stores import open_lake
from tests.ponder.steps.exports import (
    HOUR,
    MORNING,
    NUM_DAYS,
    change_the_present,
    contents,
    event,
    export,
    land_events,
)


@pytest.fixture
def settings(exports_home, tmp_path):
    return Settings(home=shutil.copytree(exports_home, tmp_path / "home"))


def test_export_made_again_after_deletions_edits_and_late_events_is_the_same_to_the_byte(
    settings, tmp_path
):
    export(settings, tmp_path / "march")
    change_the_present(open_lake(settings))
    export(settings, tmp_path / "june")
    assert contents(tmp_path / "june") == contents(tmp_path / "march")
    found = diff_exports(tmp_path / "march", tmp_path / "june")
    assert (found.rows, found.differing, found.made_otherwise) == (60, {}, [])


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
