"""Tests for evaluation/next_item.py, on a circle of items."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS
from evaluation.exact_ranking import Catalogue
from evaluation.next_item import evaluate_next_item
from features.profile import ProfileConfig

CATALOGUE = Catalogue(
    ["a", "b", "c", "d"], np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=np.float32)
)


def events(*rows):
    """Rows of (user, item, action) or (user, item, rating), an hour apart."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        [
            {
                "event_id": str(number),
                "user_id": user,
                "item_id": item,
                "action": action if isinstance(action, str) else "rating",
                "value": None if isinstance(action, str) else action,
                "ts": start + timedelta(hours=number),
            }
            for number, (user, item, action) in enumerate(rows)
        ],
        schema=EVENTS.schema,
    )


def test_the_last_liked_item_is_looked_for_among_the_unseen():
    log = events(
        ("u", "a", "click"),
        ("u", "d", "impression"),  # shown is not chosen
        ("u", "c", "click"),  # held out: b is nearer to a, so c comes second
        ("v", "d", "click"),
        ("v", "c", "click"),  # nearest to d: first
    )
    report = evaluate_next_item(log, CATALOGUE)
    assert (report["num_users"], report["num_items"]) == (2, 4)
    assert report["hit@1"] == 0.5
    assert report["hit@10"] == 1
    assert report["ndcg@10"] == pytest.approx((1 + 1 / math.log2(3)) / 2)


def test_liked_means_what_it_means_to_the_ranker():
    log = events(
        ("u", "d", 1.0),  # disliked: no part of the profile, and may be found again
        ("u", "a", 5.0),
        ("u", "b", 4.0),  # held out, nearest to a
        ("u", "c", 2.0),  # disliked: not held out
    )
    report = evaluate_next_item(log, CATALOGUE)
    assert (report["num_users"], report["hit@1"]) == (1, 1)


def test_what_a_user_liked_before_is_left_out_and_items_without_a_vector_passed_over():
    log = events(("u", "gone", "like"), ("u", "c", "like"), ("u", "b", "like"), ("u", "d", "like"))
    # c and b point between a and d, a little nearer to a; b and c themselves are left out.
    report = evaluate_next_item(log, CATALOGUE, ks=(1, 2))
    assert (report["hit@1"], report["hit@2"]) == (0, 1)


def test_the_profile_is_made_of_the_newest_items_alone():
    log = events(("u", "a", "like"), ("u", "d", "like"), ("u", "c", "like"))
    short = evaluate_next_item(log, CATALOGUE, config=ProfileConfig(max_history=1), ks=(1,))
    assert short["hit@1"] == 1  # of d alone, c is nearest
    older = ProfileConfig(max_history=2, half_life=1e9)
    assert evaluate_next_item(log, CATALOGUE, config=older, ks=(1,))["hit@1"] == 0  # ties: b


def test_users_who_liked_one_item_have_nothing_to_ask_with():
    log = events(("u", "a", "like"), ("v", "gone", "like"), ("v", "a", "like"))
    assert evaluate_next_item(log, CATALOGUE) is None


def test_events_that_nobody_liked_have_nothing_to_ask_with():
    assert evaluate_next_item(events(("u", "a", "skip"), ("u", "b", 1.0)), CATALOGUE) is None


def test_the_newest_items_that_still_exist_shape_the_profile():
    gone = [("u", f"gone{n}", "like") for n in range(60)]
    log = events(("u", "a", "like"), ("u", "b", "like"), *gone[:59], ("u", "d", "like"), gone[59])
    # Held out is d, the last that exists; a and b are the history, so c comes before it.
    report = evaluate_next_item(log, CATALOGUE, ks=(1, 2))
    assert (report["num_users"], report["hit@1"], report["hit@2"]) == (1, 0, 1)


def test_nobody_is_asked_for_when_nothing_that_was_liked_exists():
    log = events(*(("u", f"gone{n}", "like") for n in range(3)))
    assert evaluate_next_item(log, CATALOGUE) is None
    assert evaluate_next_item(EVENTS.empty(), CATALOGUE) is None


def test_a_centred_profile_looks_away_from_what_all_items_have_in_common():
    log = events(("u", "b", "click"), ("u", "a", "click"))
    # c is .96 from b and a .8. The centre is (.6, .6): b less it is (.2, 0), from which a is 1.
    assert evaluate_next_item(log, CATALOGUE, ks=(1,))["hit@1"] == 0
    assert evaluate_next_item(log, CATALOGUE, ks=(1,), centred=True)["hit@1"] == 1
