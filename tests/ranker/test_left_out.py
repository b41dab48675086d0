"""Tests for ranker/left_out.py and ranker/training_table.py: a log of ratings."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS, ITEMS
from features.log import Log
from ranker.config import RankerConfig
from ranker.left_out import evaluate_left_out
from ranker.training_table import training_table

START = datetime(2026, 1, 1, tzinfo=UTC)
TREES = RankerConfig(num_rounds=10, min_data_in_leaf=5, num_members=1)


def items(num_items):
    return pl.DataFrame(
        [
            {
                "item_id": f"i{n:03d}",
                "category": "c",
                "image_hash": None if n == 0 else "h",
                "created_at": START,
                "updated_at": START,
                "deleted": n == 1,
                "content_hash": "x",
            }
            for n in range(num_items)
        ],
        schema=ITEMS.schema,
    )


def vectors(num_items):
    """Even and odd items point in two directions, with a little noise of their own."""
    rng = np.random.default_rng(0)
    direction_ND = np.eye(8)[np.arange(num_items) % 2] + rng.normal(0, 0.2, (num_items, 8))
    direction_ND /= np.linalg.norm(direction_ND, axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "item_id": [f"i{n:03d}" for n in range(num_items)],
            "vector": direction_ND.astype(np.float32).tolist(),
            "model_version": "v",
        }
    )


def ratings(num_users, num_items, per_user):
    """Even users rate even items, odd users odd ones."""
    rng = np.random.default_rng(1)
    rows = []
    for user in range(num_users):
        liked = [n for n in range(2, num_items) if n % 2 == user % 2]
        for k, n in enumerate(rng.choice(liked, per_user, replace=False)):
            rows.append(
                {
                    "event_id": f"{user}-{k}",
                    "user_id": f"u{user}",
                    "item_id": f"i{n:03d}",
                    "action": "rating",
                    "value": 5.0,
                    "ts": START + timedelta(hours=100 * user + k),
                }
            )
    return pl.DataFrame(rows, schema=EVENTS.schema)


@pytest.fixture(scope="module")
def log():
    return Log(ratings(100, 60, 8), items(60), vectors(60))


def test_match_features_find_the_half_of_the_catalogue_that_a_user_likes(log):
    report = evaluate_left_out(log, training_table(log).table, config=TREES)
    assert report.protocol == "leave_last_out"
    assert (report.num_users, report.num_candidates) == (100, 59)
    # 29 candidates of a user's kind less the 7 seen: blind choice inside them hits 10 / 22.
    with_match = report.metrics["with match"]["hit@10"].mean
    without = report.metrics["without match"]["hit@10"].mean
    assert with_match > without
    assert with_match > 0.3
    difference = report.differences["with match"]["hit@10"].mean
    assert difference == pytest.approx(with_match - without)


def test_a_tie_goes_to_the_smaller_id():
    from ranker.left_out import _rank_of_relevant

    frame = pl.DataFrame(
        {
            "request_id": ["u"] * 3 + ["v"] * 2,
            "item_id": ["b", "a", "c", "x", "y"],
            "relevance": [1, 0, 0, 0, 1],
        }
    )
    # u: a and b tie at the top and a comes first by id; v: y wins alone.
    ranks = _rank_of_relevant(frame, np.array([0.5, 0.5, 0.1, 0.2, 0.9]))
    assert ranks.tolist() == [2, 1]


def test_a_log_without_requests_says_so(log):
    with pytest.raises(ValueError, match="land events first"):
        training_table(Log(EVENTS.empty(), log.items, log.vectors))
