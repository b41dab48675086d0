"""Tests for catalog/lake/changes.py: a copy kept by what changed equals the table."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.changes import TableFollower
from catalog.lake.maintenance import compact
from catalog.lake.tables import EVENTS

T1 = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = ("event_id", "user_id", "ts")


def events(*ids, user="u", hour=0):
    ts = T1 + timedelta(hours=hour)
    rows = [(i, None, user, "item", "click", None, None, ts) for i in ids]
    return pl.DataFrame(rows, schema=EVENTS.schema, orient="row")


@pytest.fixture
def follower(lake):
    return TableFollower(lake, EVENTS, COLUMNS)


def told(follower):
    """Whether it was told anew, and the ids of what came and went."""
    if (changes := follower.changes()) is None:
        return None
    came, went = changes.added.collect(), changes.removed.collect()
    assert tuple(came.columns) == tuple(went.columns) == COLUMNS
    return changes.is_anew, sorted(came["event_id"]), sorted(went["event_id"])


def test_the_first_time_tells_of_all_and_then_of_what_was_added(lake, follower):
    assert told(follower) == (True, [], [])  # there is no such table yet
    lake.upsert_events(events("1", "2"))
    assert told(follower) == (True, ["1", "2"], [])
    assert told(follower) is None
    lake.upsert_events(events("3"))
    lake.upsert_events(events("4"))
    assert told(follower) == (False, ["3", "4"], [])


def test_a_row_that_changed_is_told_as_gone_and_come(lake, follower):
    lake.upsert_events(events("1", "2"))
    follower.changes()
    lake.upsert_events(events("2", user="v", hour=1))
    assert told(follower) == (False, ["2"], ["2"])
    lake.delete(EVENTS, events("1").select("event_id"))
    assert told(follower) == (False, [], ["1"])


def test_files_that_are_only_merged_change_nothing(lake, follower):
    for name in "abc":
        lake.upsert_events(events(name))
    follower.changes()
    compact(lake)
    assert told(follower) == (False, [], [])


def test_what_was_forgotten_is_told_anew(lake, follower):
    lake.upsert_events(events("1"))
    follower.changes()
    follower.forget()
    assert told(follower) == (True, ["1"], [])


def test_files_that_a_vacuum_took_away_make_it_tell_anew(lake, follower):
    lake.upsert_events(events("1", "2"))
    follower.changes()
    lake.delete(EVENTS, events("1").select("event_id"))
    lake.delta(EVENTS).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert told(follower) == (True, ["2"], [])


def test_what_is_known_of_a_commit_is_not_told_while_the_history_reaches_back_to_it(lake):
    lake.upsert_events(events("1"))
    commit = lake.version(EVENTS)
    assert told(TableFollower(lake, EVENTS, COLUMNS, since=commit)) is None
    lake.upsert_events(events("2"))
    compact(lake)
    assert told(TableFollower(lake, EVENTS, COLUMNS, since=commit)) == (False, ["2"], [])
    assert told(TableFollower(lake, EVENTS, COLUMNS, since=99)) == (True, ["1", "2"], [])
