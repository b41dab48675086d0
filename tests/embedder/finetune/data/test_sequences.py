"""Tests for embedder/finetune/data/sequences.py."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl

from embedder.finetune.data.sequences import sequences

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


def rows(*likes, before=1000, **options):
    found = sequences(positives(*likes), before=at(before), **options)
    return [(user, items, target) for user, _, items, target in found.rows()]


def test_a_like_follows_from_the_earlier_ones_oldest_first():
    likes = [("u", "c", 3), ("v", "x", 0), ("u", "a", 1), ("u", "b", 2), ("v", "y", 1)]
    assert rows(*likes) == [("u", ["a"], "b"), ("u", ["a", "b"], "c"), ("v", ["x"], "y")]


def test_a_purchase_does_not_follow_from_its_own_click():
    likes = [("u", "a", 0), ("u", "a", 1), ("u", "b", 2), ("u", "a", 3)]
    assert rows(*likes) == [("u", ["a"], "b")]


def test_likes_of_the_same_moment_are_not_earlier():
    likes = [("u", "a", 0), ("u", "b", 1), ("u", "c", 1), ("u", "d", 2)]
    assert rows(*likes) == [("u", ["a"], "b"), ("u", ["a"], "c"), ("u", ["a", "b", "c"], "d")]


def test_the_split_hides_what_is_later():
    assert rows(("u", "a", 0), ("u", "b", 1), ("u", "c", 2), before=2) == [("u", ["a"], "b")]


def test_rows_equal_a_loop_over_every_users_likes():
    rng = random.Random(3)
    likes = [(f"u{rng.randrange(5)}", f"i{n:03d}", rng.randrange(40)) for n in range(150)]
    expected = []
    for user in sorted({user for user, _, _ in likes}):
        own = sorted((hour, item) for who, item, hour in likes if who == user)
        for hour, item in own:
            earlier = [other for when, other in own if when < hour]
            if earlier:
                expected.append((user, earlier[-4:], item))
    assert rows(*likes, max_items=4) == expected


def test_nobody_gives_no_rows():
    assert rows() == []
