"""Tests for evaluation/leave_last_out.py."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.tables import EVENTS
from evaluation.leave_last_out import leave_last_out, newest_liked

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ratings(*rows):
    """Rows of (user, item, rating, hours after noon)."""
    return pl.DataFrame(
        [
            {"event_id": str(i), "user_id": u, "item_id": item, "action": "rating", "value": v}
            | {"ts": NOON + timedelta(hours=h)}
            for i, (u, item, v, h) in enumerate(rows)
        ],
        schema=EVENTS.schema,
    )


ITEMS = pl.Series([f"i{k}" for k in range(10)])
LOG = ratings(
    ("u", "i1", 5.0, 0),
    ("u", "i2", 4.0, 1),
    ("u", "i4", 4.0, 2),
    ("u", "i3", 5.0, 2),  # the same moment: the larger id is the last
    ("u", "i5", 2.0, 4),  # disliked
    ("u", "no_vector", 5.0, 3),
    ("v", "i9", 5.0, 0),
    ("w", "no_vector", 5.0, 0),
)


def test_last_liked_candidate_is_held_out_ties_by_id():
    _, held_out = leave_last_out(LOG, candidate_items=ITEMS)
    assert held_out.select("user_id", "item_id").rows() == [("u", "i4"), ("v", "i9")]


def test_nothing_after_the_held_out_event_is_left_to_learn_from():
    train, _ = leave_last_out(LOG, candidate_items=ITEMS)
    assert train.select("user_id", "item_id").rows() == [
        ("u", "i1"),
        ("u", "i2"),
        ("u", "i3"),
        ("w", "no_vector"),
    ]


def test_earlier_events_on_the_held_out_item_are_left_out_too():
    log = ratings(("u", "i1", 5.0, 0), ("u", "i2", 5.0, 1), ("u", "i1", 5.0, 2))
    train, held_out = leave_last_out(log, candidate_items=ITEMS)
    assert train["item_id"].to_list() == ["i2"]
    assert held_out["item_id"].to_list() == ["i1"]


def test_answers_to_learn_from_are_the_newest_liked_candidates():
    train, _ = leave_last_out(LOG, candidate_items=ITEMS)
    got = newest_liked(train, candidate_items=ITEMS, limit=2)
    assert got.rows() == [
        ("u/0", "u", "i2", NOON + timedelta(hours=1)),
        ("u/1", "u", "i3", NOON + timedelta(hours=2)),
    ]
    others = pl.Series([item for item in ITEMS if item != "i3"])
    got = newest_liked(train, candidate_items=others, limit=1)
    assert got["item_id"].to_list() == ["i2"]


def act(user, item, action, hours, value=None):
    """One event."""
    row = {"event_id": f"{user}{item}{hours}", "user_id": user, "item_id": item, "action": action}
    return row | {"value": value, "ts": NOON + timedelta(hours=hours)}


@pytest.mark.parametrize("last", ["skip", "impression", ("rating", 1.0), ("rating", None)])
def test_what_was_not_liked_is_never_the_right_answer(last):
    action, value = last if isinstance(last, tuple) else (last, None)
    log = [act("u", "i1", "like", 0), act("u", "i2", "view", 1), act("u", "i3", action, 2, value)]
    events = pl.DataFrame(log, schema_overrides=EVENTS.schema)
    train, held_out = leave_last_out(events, candidate_items=ITEMS)
    assert held_out["item_id"].to_list() == ["i2"]
    assert train["item_id"].to_list() == ["i1"]


def test_user_who_liked_nothing_has_no_right_answer_and_keeps_the_events():
    events = pl.DataFrame([act("u", "i1", "skip", 0)], schema_overrides=EVENTS.schema)
    train, held_out = leave_last_out(events, candidate_items=ITEMS)
    assert held_out.is_empty()
    assert len(train) == 1
