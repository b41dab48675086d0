"""Tests for features/histories.py: a hand-made log, and a slow oracle over random ones."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS
from features.histories import HistoryConfig, histories, liked_items, skipped_events

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def events(*rows):
    """Rows of (user, item, action, value, hours after noon)."""
    return pl.DataFrame(
        [
            {
                "event_id": str(i),
                "request_id": None,
                "user_id": user,
                "item_id": item,
                "action": action,
                "value": value,
                "position": None,
                "ts": NOON + timedelta(hours=hours),
            }
            for i, (user, item, action, value, hours) in enumerate(rows)
        ],
        schema=EVENTS.schema,
    )


def requests(*rows):
    """Rows of (request, user, hours after noon)."""
    return pl.DataFrame(
        [(request, user, NOON + timedelta(hours=h)) for request, user, h in rows],
        schema={"request": pl.String, "user_id": pl.String, "ts": EVENTS.schema["ts"]},
        orient="row",
    )


def items_of(frame):
    return dict(zip(frame["request"], frame["items"].to_list(), strict=True))


def test_newest_first_with_hours_as_ages():
    log = events(("u", "a", "click", None, 0), ("u", "b", "view", None, 2.5))
    got = histories(requests(("r", "u", 4)), log)
    assert got["items"].to_list() == [["b", "a"]]
    assert got["ages_h"].to_list() == [[1.5, 4.0]]
    assert got.schema["ages_h"] == pl.List(pl.Float32)


def test_event_of_the_same_moment_is_not_history():
    log = events(("u", "a", "click", None, 0), ("u", "b", "click", None, 1))
    assert items_of(histories(requests(("r", "u", 1)), log)) == {"r": ["a"]}


def test_only_positive_events_count():
    log = events(
        ("u", "shown", "impression", None, 0),
        ("u", "skipped", "skip", None, 0),
        ("u", "poor", "rating", 3.0, 0),
        ("u", "fair", "rating", 3.5, 1),
        ("u", "unrated", "rating", None, 1),
    )
    assert items_of(histories(requests(("r", "u", 2)), log)) == {"r": ["fair"]}


def test_item_acted_on_twice_is_there_once_at_its_newest_time():
    log = events(
        ("u", "a", "click", None, 0), ("u", "b", "click", None, 1), ("u", "a", "purchase", None, 2)
    )
    got = histories(requests(("before", "u", 1.5), ("after", "u", 3)), log)
    assert items_of(got) == {"before": ["b", "a"], "after": ["a", "b"]}


def test_repeats_do_not_shorten_a_history():
    again = [("u", "new", "view", None, 10 + i) for i in range(40)]
    log = events(("u", "old", "click", None, 0), *again)
    got = histories(requests(("r", "u", 99)), log, config=HistoryConfig(max_items=2))
    assert items_of(got) == {"r": ["new", "old"]}


def test_user_without_past_keeps_the_row():
    log = events(("u", "a", "click", None, 5))
    got = histories(requests(("new", "stranger", 9), ("early", "u", 1)), log)
    assert items_of(got) == {"new": [], "early": []}


def slow_history(log, user, ts, max_items):
    """The definition, one request at a time."""
    past = [
        (row["ts"], row["item_id"])
        for row in log.iter_rows(named=True)
        if row["user_id"] == user and row["action"] == "click" and row["ts"] < ts
    ]
    kept = []
    for when, item in sorted(past, reverse=True):
        if item not in [k for k, _ in kept]:
            kept.append((item, (ts - when).total_seconds() / 3600))
    return kept[:max_items]


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_a_slow_oracle_on_random_logs(seed):
    rng = np.random.default_rng(seed)
    log = events(
        *(
            (f"u{rng.integers(4)}", f"i{rng.integers(9)}", rng.choice(["click", "skip"]), None, h)
            for h in rng.integers(0, 60, size=300).tolist()
        )
    )
    asked = requests(
        *((f"r{i}", f"u{rng.integers(5)}", int(rng.integers(0, 70))) for i in range(60))
    )
    got = histories(asked, log, config=HistoryConfig(max_items=5))
    assert got["request"].to_list() == asked["request"].to_list()
    for request, row in zip(asked.iter_rows(named=True), got.iter_rows(named=True), strict=True):
        expected = slow_history(log, request["user_id"], request["ts"], 5)
        assert row["items"] == [item for item, _ in expected]
        np.testing.assert_allclose(row["ages_h"], [age for _, age in expected], rtol=1e-6)


def test_the_order_for_one_user_is_that_of_histories():
    log = events(
        ("u", "a", "click", None, 0),
        ("u", "c", "like", None, 1),
        ("u", "d", "view", None, 1),  # the same moment: the larger id is the newer
        ("u", "b", "skip", None, 2),
        ("u", "a", "click", None, -1),
    )
    assert liked_items(log) == ["d", "c", "a"]
    assert liked_items(log) == histories(requests(("r", "u", 3)), log)["items"].to_list()[0]


@pytest.mark.parametrize(("min_rating", "skipped"), [(3.5, [0.5, 2.0]), (1.0, [0.5]), (0.0, [])])
def test_a_low_rating_speaks_against_an_item_unless_it_is_liked(min_rating, skipped):
    values = [0.5, 2.0, 3.0, 5.0]
    log = pl.DataFrame({"action": ["rating"] * 4, "value": values})
    found = skipped_events(log, config=HistoryConfig(min_rating=min_rating))
    assert found["value"].to_list() == skipped
