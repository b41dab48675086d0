"""Tests for features/impressions.py."""

from datetime import UTC, datetime, timedelta

import polars as pl

from catalog.lake.tables import EVENTS
from features.impressions import impressions_from_events

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def events(*rows):
    """Rows of (request, item, action, minutes after noon), all of user u."""
    return pl.DataFrame(
        [
            {"event_id": str(i), "request_id": r, "user_id": "u", "item_id": item, "action": a}
            | {"ts": NOON + timedelta(minutes=m)}
            for i, (r, item, a, m) in enumerate(rows)
        ],
        schema=EVENTS.schema,
    )


def relevance(*rows):
    got = impressions_from_events(events(*rows))
    return {(r, i): rel for r, i, rel in got.select("request_id", "item_id", "relevance").rows()}


def test_best_outcome_of_the_same_request_and_item_counts():
    assert relevance(
        ("r", "a", "impression", 0),
        ("r", "a", "click", 1),
        ("r", "a", "purchase", 2),
        ("r", "b", "impression", 0),
        ("r", "b", "skip", 1),
        ("s", "b", "impression", 5),
        ("s", "b", "click", 6),
    ) == {("r", "a"): 2, ("r", "b"): 0, ("s", "b"): 1}


def test_outcome_before_the_impression_is_not_its_outcome():
    assert relevance(("r", "a", "click", 0), ("r", "a", "impression", 1)) == {("r", "a"): 0}


def test_request_has_the_time_of_its_first_impression():
    got = impressions_from_events(
        events(("r", "b", "impression", 3), ("r", "a", "impression", 1), ("r", "a", "click", 2))
    )
    assert got["ts"].to_list() == [NOON + timedelta(minutes=1)] * 2
    assert got["item_id"].to_list() == ["a", "b"]


def test_item_shown_twice_is_one_impression():
    assert relevance(("r", "a", "impression", 0), ("r", "a", "impression", 1)) == {("r", "a"): 0}


def test_impression_without_a_request_is_left_out():
    assert relevance((None, "a", "impression", 0)) == {}
