"""Tests for catalog/lake/migration.py, on a lake that the release before the renaming has written.

`lake_with_candidates` was made by `Lake.insert_new` of that release: two writes to its table
`candidates`, of two rows and of one.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.maintenance import compact
from catalog.lake.migration import copy_table, rename_table
from catalog.lake.tables import GENERATED_RATIONALES

OLDER = Path(__file__).parent / "lake_with_candidates"
TEXTS = {"k1": "a red mug", "k2": None, "k3": "a blue vase"}


@pytest.fixture
def older(tmp_path):
    """A copy of the older lake."""
    return Path(shutil.copytree(OLDER, tmp_path / "lake"))


def texts(lake):
    return dict(lake.read(GENERATED_RATIONALES, ["key", "text"]).sort("key").rows())


def row(key):
    nulls = pl.DataFrame([{"key": key}], schema=GENERATED_RATIONALES.schema)
    return nulls.with_columns(side=pl.lit("item"), worker=pl.lit("w"), prompt_version=pl.lit("p1"))


def test_an_older_lake_is_renamed_when_it_is_read(older):
    assert texts(Lake(str(older))) == TEXTS
    assert [path.name for path in older.iterdir()] == ["generated_rationales"]
    assert texts(Lake(str(older))) == TEXTS


def test_the_history_of_a_renamed_table_is_kept(older):
    assert Lake(str(older)).version(GENERATED_RATIONALES) == 2  # created, and written to twice


def test_a_write_adds_to_the_rows_of_the_older_lake(older):
    lake = Lake(str(older))
    assert lake.insert_new(GENERATED_RATIONALES, pl.concat([row("k3"), row("k4")])) == 1
    assert texts(lake) == TEXTS | {"k4": None}


def test_upkeep_finds_the_older_table(older):
    assert list(compact(Lake(str(older)))) == ["generated_rationales"]


def test_a_lake_named_by_a_file_address_is_renamed_too(older):
    assert texts(Lake(older.as_uri())) == TEXTS
    assert not (older / "candidates").exists()


def test_a_lake_without_the_table_gets_no_folder(tmp_path):
    assert Lake(str(tmp_path)).read(GENERATED_RATIONALES).is_empty()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_table_is_left_alone(tmp_path):
    (tmp_path / "candidates").mkdir()
    (tmp_path / "candidates" / "notes.txt").write_text("mine")
    assert Lake(str(tmp_path)).insert_new(GENERATED_RATIONALES, row("k4")) == 1
    assert (tmp_path / "candidates" / "notes.txt").read_text() == "mine"


def test_of_two_that_rename_the_second_finds_it_done(older):
    rename_table(older / "candidates", older / "generated_rationales")
    rename_table(older / "candidates", older / "generated_rationales")
    assert texts(Lake(str(older))) == TEXTS


@pytest.mark.parametrize("trial", range(5))
def test_all_who_open_an_older_lake_at_once_see_its_rows(older, trial):
    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(lambda _: texts(Lake(str(older))), range(4)))
    assert seen == [TEXTS] * 4


def test_a_copy_has_the_rows_and_leaves_the_old_table(older):
    copy_table(f"{older}/candidates", f"{older}/generated_rationales", storage_options={})
    assert texts(Lake(str(older))) == TEXTS
    assert (older / "candidates" / "_delta_log").is_dir()


def test_a_copy_remembers_for_as_long_as_the_old_table_did(older):
    copy_table(f"{older}/candidates", f"{older}/generated_rationales", storage_options={})
    delta = Lake(str(older)).delta(GENERATED_RATIONALES)
    assert delta.metadata().configuration["delta.logRetentionDuration"] == "interval 888 hours"


@pytest.mark.parametrize("trial", range(5))
def test_of_many_copies_at_once_one_is_made(older, trial):
    def copy(_):
        copy_table(f"{older}/candidates", f"{older}/generated_rationales", storage_options={})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(copy, range(4)))
    lake = Lake(str(older))
    assert lake.version(GENERATED_RATIONALES) == 0
    assert texts(lake) == TEXTS


def test_a_copy_that_was_killed_before_its_commit_is_made_again(older):
    new = older / "generated_rationales"
    new.mkdir()
    shutil.copy(next((older / "candidates").glob("*.parquet")), new / "part-of-a-killed.parquet")
    copy_table(f"{older}/candidates", str(new), storage_options={})
    assert texts(Lake(str(older))) == TEXTS


def test_a_copied_table_does_not_pretend_to_reach_back(older):
    copy_table(f"{older}/candidates", f"{older}/generated_rationales", storage_options={})
    with pytest.raises(ValueError, match="must lie within the history of the table"):
        Lake(str(older)).scan(GENERATED_RATIONALES, as_of=datetime(2026, 1, 1, tzinfo=UTC))
