"""Tests for catalog/lake/restore.py: a table as it was, by a commit that can be undone itself."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.maintenance import Retention, history, vacuum
from catalog.lake.restore import earlier_state, restore
from catalog.lake.shrinks import unexplained_shrinks
from catalog.lake.tables import MEDIA


def images(*hashes):
    return pl.DataFrame([{"hash": h, "bytes": b"1"} for h in hashes], schema=MEDIA.schema)


def held(lake):
    return lake.read(MEDIA)["hash"].sort().to_list()


@pytest.fixture
def lake(tmp_path):
    """Commits: 0 makes the table, 1 has a, 2 has a and b, 3 nothing."""
    lake = Lake(str(tmp_path))
    lake.insert_new(MEDIA, images("a"))
    lake.insert_new(MEDIA, images("b"))
    lake.set_transactions(MEDIA, {"topic/0": 7})
    lake.delta(MEDIA).delete()
    return lake


def test_a_table_is_what_it_was_and_what_it_is_can_be_restored_too(lake):
    last = lake.version(MEDIA)
    state = earlier_state(lake, MEDIA, 2)
    assert (state.rows, state.present_rows, state.present_version) == (2, 0, last)
    assert held(lake) == []  # looking changes nothing
    commit = restore(lake, MEDIA, 2)
    assert (commit, held(lake)) == (last + 1, ["a", "b"])
    restore(lake, MEDIA, 1)
    assert held(lake) == ["a"]
    restore(lake, MEDIA, commit)
    assert held(lake) == ["a", "b"]
    assert history(lake, MEDIA, limit=1)[0].origin == "ponder restore"


def test_how_far_topics_were_landed_stays(lake):
    restore(lake, MEDIA, 1)
    assert lake.last_transaction(MEDIA, "topic/0") == 7


def test_what_a_stranger_took_is_no_fault_any_more(lake):
    assert len(unexplained_shrinks(lake, MEDIA)) == 1
    restore(lake, MEDIA, 2)
    assert unexplained_shrinks(lake, MEDIA) == []


def test_a_moment_means_the_last_commit_made_by_then(lake):
    moments = {each.version: each.at for each in history(lake, MEDIA)}
    later = moments[2] if moments[2] > moments[1] else moments[1]
    assert earlier_state(lake, MEDIA, later).version >= 1
    assert earlier_state(lake, MEDIA, moments[1] + timedelta(0)).at == moments[1]
    assert earlier_state(lake, MEDIA, datetime.now(UTC)).version == lake.version(MEDIA)


@pytest.mark.parametrize("to", [99, datetime(2020, 1, 1, tzinfo=UTC)])
def test_what_the_history_does_not_hold_is_refused_with_what_it_does(lake, to):
    with pytest.raises(ValueError, match=r"one of 0 to \d+, the oldest made at .*ponder lake hist"):
        earlier_state(lake, MEDIA, to)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must exist"):
        earlier_state(Lake(str(tmp_path / "none")), MEDIA, 0)


def test_files_that_a_vacuum_took_are_missed_before_anything_changes(lake):
    vacuum(lake, Retention(hours=0, force=True))
    with pytest.raises(ValueError, match="vacuum"):
        restore(lake, MEDIA, 2)
    assert held(lake) == []
