"""Tests for evaluation/leave_last_out.py."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.tables import EVENTS
from evaluation.leave_last_out import held_out_requests, leave_last_out, training_requests

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


def test_all_unseen_candidates_are_ranked():
    train, held_out = leave_last_out(LOG, candidate_items=ITEMS)
    got = held_out_requests(held_out, train, candidate_items=ITEMS)
    of_u = got.filter(pl.col("user_id") == "u")
    assert of_u["item_id"].to_list() == ["i0", "i4", "i5", "i6", "i7", "i8", "i9"]
    assert of_u.filter(pl.col("relevance") == 1)["item_id"].to_list() == ["i4"]
    assert of_u["ts"].unique().to_list() == [NOON + timedelta(hours=2)]
    assert len(got.filter(pl.col("user_id") == "v")) == 10


def test_training_requests_hold_one_positive_among_unseen_items():
    train, _ = leave_last_out(LOG, candidate_items=ITEMS)
    got = training_requests(train, candidate_items=ITEMS, num_positives=2, num_negatives=4)
    assert got.group_by("request_id", maintain_order=True).agg(
        pl.col("relevance").sum(), pl.len(), pl.col("item_id").first()
    ).rows() == [("u/0", 1, 5, "i2"), ("u/1", 1, 5, "i3")]
    negatives = got.filter(pl.col("relevance") == 0)
    assert not set(negatives["item_id"]) & {"i1", "i2", "i3"}
    assert negatives.select("request_id", "item_id").is_unique().all()
    times = got.group_by("request_id", maintain_order=True).agg(pl.col("ts").unique())["ts"]
    assert times.to_list() == [[NOON + timedelta(hours=1)], [NOON + timedelta(hours=2)]]


def test_sample_is_decided_by_the_seed():
    train, _ = leave_last_out(LOG, candidate_items=ITEMS)
    first, same, other = (
        training_requests(train, candidate_items=ITEMS, num_negatives=3, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first.equals(same)
    assert not first.equals(other)


def test_user_who_has_seen_almost_all_has_fewer_negatives():
    log = ratings(*(("u", f"i{k}", 5.0, k) for k in range(9)))
    train, _ = leave_last_out(log, candidate_items=ITEMS)
    got = training_requests(train, candidate_items=ITEMS, num_positives=1, num_negatives=50)
    assert got["item_id"].to_list() == ["i7", "i8", "i9"]


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


def test_what_was_only_shown_is_still_to_be_found_and_may_be_a_negative():
    log = [act("u", f"i{n}", "impression", 0) for n in range(10)]
    log += [act("u", "i1", "skip", 1), act("u", "i2", "like", 2), act("u", "i3", "like", 3)]
    train, held_out = leave_last_out(
        pl.DataFrame(log, schema_overrides=EVENTS.schema), candidate_items=ITEMS
    )
    asked = held_out_requests(held_out, train, candidate_items=ITEMS)
    assert set(asked["item_id"]) == set(ITEMS) - {"i1", "i2"}
    trained = training_requests(train, candidate_items=ITEMS)
    assert set(trained["item_id"]) == set(ITEMS) - {"i1"}
