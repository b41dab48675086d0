"""Tests for ponder/wiring/counts.py: by day, and anew when events come late."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS
from features.cooccurrence import cooccurrence
from ponder.wiring import counts as module
from ponder.wiring.counts import DailyCounts

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def likes(days_ago, **items_of):
    """Rows of likes, by user, some days before this midnight (after it: negative)."""
    rows = [
        {"event_id": f"{user}{item_id}{days_ago}", "user_id": user, "item_id": item_id}
        | {"action": "like", "ts": TODAY - timedelta(days=days_ago, minutes=-place)}
        for user, item_ids in items_of.items()
        for place, item_id in enumerate(item_ids)
    ]
    return pl.DataFrame(rows, schema=EVENTS.schema)


@pytest.fixture
def lake(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    lake.upsert_events(likes(2, ann="abc", bob="ab"))
    return lake


@pytest.fixture
def counted(monkeypatch):
    """The numbers of events that were counted, call by call."""
    numbers = []

    def spy(events, **options):
        numbers.append(len(events))
        return cooccurrence(events, **options)

    monkeypatch.setattr(module, "cooccurrence", spy)
    return numbers


def of_whole(lake):
    events = lake.scan(EVENTS).filter(pl.col("ts") < TODAY).collect()
    return cooccurrence(events)


def test_events_of_today_are_left_to_tomorrow_and_late_ones_are_counted(lake, tmp_path, counted):
    counts = DailyCounts(lake, tmp_path)
    assert counts.refresh()
    assert not counts.refresh()
    lake.upsert_events(likes(-1, ann="d", bob="d"))
    assert not counts.refresh()
    assert counts.now().nearest(["d"]) == []
    lake.upsert_events(likes(3, cat="ae"))
    assert counts.refresh()
    assert counts.now().nearest(["a"]) == ["b", "e", "c"]
    assert counted == [5, 7]
    expected, held = of_whole(lake), counts.neighbours(datetime.now(UTC)).counts
    assert held.pair_P.tolist() == expected.pair_P.tolist()
    assert held.weight_P.tolist() == expected.weight_P.tolist()


def test_another_process_grows_the_file_by_what_came_since(lake, tmp_path, counted):
    DailyCounts(lake, tmp_path).refresh()
    lake.upsert_events(likes(1, bob="cd"))
    assert DailyCounts(lake, tmp_path).now().nearest(["d"]) == ["a", "b", "c"]  # all alike
    assert counted == [5, 3]  # the newest counted one comes with them


def test_swing_is_counted_once_it_is_asked_for_and_stays_in_the_file(lake, tmp_path, counted):
    counts, now = DailyCounts(lake, tmp_path), datetime.now(UTC)
    assert counts.neighbours(now).counts.swing_P is None
    assert counts.neighbours(now, with_swing=True).counts.swing_P is not None
    assert counts.neighbours(now).counts.swing_P is not None
    assert counted == [5, 5]
    lake.upsert_events(likes(1, bob="cd"))
    other = DailyCounts(lake, tmp_path).neighbours(now)  # it grows what it finds
    whole = cooccurrence(lake.scan(EVENTS).collect(), with_swing=True)
    assert other.counts.swing_P.tolist() == whole.swing_P.tolist()


def test_recounts_leave_time_to_others(lake, tmp_path, monkeypatch):
    counts = DailyCounts(lake, tmp_path)
    counts.refresh()
    for day in (3, 4):
        lake.upsert_events(likes(day, dan="bc"))
        assert counts.refresh() == (day == 3)  # the second one has to wait
    counts._rests_until = 0.0
    assert counts.refresh()
    assert (
        counts.neighbours(datetime.now(UTC)).counts.weight_P.tolist()
        == of_whole(lake).weight_P.tolist()
    )
