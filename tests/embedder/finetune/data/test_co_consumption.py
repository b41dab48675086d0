"""Tests for embedder/finetune/data/co_consumption.py."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from scipy.sparse import csr_array

from embedder.finetune.data.co_consumption import consecutive_pairs, neighbour_pairs
from embedder.finetune.data.item_similarity import cosine, swing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(hours):
    return NOON + timedelta(hours=hours)


def positives(*rows):
    """(user_id, item_id, hours after noon)."""
    return pl.DataFrame(
        [(user, item, at(hours)) for user, item, hours in rows],
        schema={"user_id": pl.String, "item_id": pl.String, "ts": pl.Datetime("us", "UTC")},
        orient="row",
    )


def following(*rows, before=100, **options):
    found = consecutive_pairs(
        positives(*rows), before=at(before), **{"max_gap": timedelta(hours=5)} | options
    )
    return found.select("query_item", "target_item").rows()


def test_the_next_like_of_a_user_follows_from_the_one_before():
    rows = [("u", "c", 4), ("u", "a", 1), ("v", "z", 2), ("u", "b", 3)]
    assert following(*rows) == [("a", "b"), ("b", "c")]


def test_a_longer_gap_ends_a_sequence():
    assert following(("u", "a", 0), ("u", "b", 5), ("u", "c", 10.5)) == [("a", "b")]


def test_the_same_item_again_is_no_next_one():
    assert following(("u", "a", 0), ("u", "a", 1), ("u", "b", 2)) == [("a", "b")]


def test_simultaneous_likes_follow_in_the_order_of_their_ids():
    assert following(("u", "b", 0), ("u", "a", 0)) == [("a", "b")]


def test_a_like_from_the_split_on_is_not_seen():
    assert following(("u", "a", 0), ("u", "b", 1), ("u", "c", 2), before=2) == [("a", "b")]


def test_a_pair_counts_its_users_and_is_known_when_enough_have_made_it():
    rows = [
        *[("u", "a", 0), ("u", "b", 1), ("u", "a", 2), ("u", "b", 3)],
        *[("v", "a", 10), ("v", "b", 11)],
    ]
    found = consecutive_pairs(
        positives(*rows), before=at(100), max_gap=timedelta(hours=5), min_users=2
    )
    assert found.select("query_key", "target_item", "weight", "ts").rows() == [
        ("a", "b", 2.0, at(11))
    ]


@pytest.mark.parametrize("similarity", [swing, cosine])
def test_neighbours_are_the_most_similar_items(similarity):
    rows = [
        *[(user, item, 0) for user in "uvw" for item in "ab"],
        *[(user, item, 1) for user in "vx" for item in "ac"],
        ("y", "d", 2),
    ]
    found = neighbour_pairs(positives(*rows), similarity, before=at(100), num_neighbours=1)
    assert found.select("query_item", "target_item").rows() == [("a", "b"), ("b", "a"), ("c", "a")]


def test_neighbours_that_tie_are_taken_by_id():
    def all_alike(liked_UI):
        # Equal on paper, but not to the last digit.
        return csr_array([[0, 0.1 + 0.2, 0.3], [0.3, 0, 0.3], [0.3, 0.3, 0]])

    rows = positives(("u", "a", 0), ("u", "b", 0), ("u", "c", 1))
    found = neighbour_pairs(rows, all_alike, before=at(100), num_neighbours=1)
    assert found.select("query_item", "target_item").rows() == [("a", "b"), ("b", "a"), ("c", "a")]
    flipped = neighbour_pairs(
        rows,
        lambda liked_UI: csr_array([[0, 0.3, 0.1 + 0.2], [0, 0, 0], [0, 0, 0]]),
        before=at(100),
        num_neighbours=1,
    )
    assert flipped.select("query_item", "target_item").rows() == [("a", "b")]


def test_neighbours_carry_the_weight_and_the_last_moment_it_rests_on():
    rows = positives(("u", "a", 0), ("u", "b", 3), ("v", "a", 1), ("v", "b", 9))
    found = neighbour_pairs(rows, cosine, before=at(9))
    # b has one user before the split, a has two: 1 / sqrt(2).
    assert found["weight"].to_list() == pytest.approx([0.5**0.5] * 2, abs=1e-6)
    assert found["ts"].to_list() == [at(3)] * 2


def test_no_events_give_no_pairs():
    assert following() == []
    assert neighbour_pairs(positives(), swing, before=at(0)).is_empty()
