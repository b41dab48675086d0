"""Tests for recall/interests.py."""

import numpy as np
import pytest

from recall.interests import interests

NEVER = 1e12  # a half-life after which all weigh the same


def unit(*rows):
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_history_over_three_interests_gives_a_medoid_of_each():
    rng = np.random.default_rng(0)
    axis_H = np.array([0, 1, 2, 0, 1, 0, 0, 2, 1, 0])
    vectors = unit(*(np.eye(8)[axis_H] + rng.normal(scale=0.05, size=(10, 8))))
    found = interests(vectors, half_life=NEVER, max_interests=3)
    assert [(axis_H[i.row], i.size) for i in found] == [(0, 5), (1, 3), (2, 2)]
    np.testing.assert_allclose([i.weight for i in found], [0.5, 0.3, 0.2], atol=1e-9)
    for interest in found:  # a medoid: no other item of the cluster is nearer to all of it
        cluster = np.flatnonzero(axis_H == axis_H[interest.row])
        nearness = (vectors[cluster] @ vectors[cluster].T).sum(1)
        assert cluster[nearness.round(5).argmax()] == interest.row


def test_recent_items_weigh_more():
    vectors = unit([1, 0], [0, 1], [0, 1])
    old, new = 0.5**2 + 0.5, 1.0
    found = interests(vectors, half_life=1, max_interests=2)
    assert [i.row for i in found] == [0, 1]
    np.testing.assert_allclose([i.weight for i in found], np.array([new, old]) / (new + old))


@pytest.mark.parametrize("max_interests", [1, 2, 5])
def test_one_item_is_one_interest_and_there_are_never_more_than_items(max_interests):
    [only] = interests(unit([3, 4]), half_life=10, max_interests=max_interests)
    assert (only.row, only.weight, only.size) == (0, 1.0, 1)
    two = interests(unit([1, 0], [0, 1]), half_life=10, max_interests=max_interests)
    assert len(two) == min(2, max_interests)
    assert sum(i.size for i in two) == 2


def test_items_acted_on_again_and_again_are_one_interest():
    vectors = unit(*[[1, 0]] * 5)
    [only] = interests(vectors, half_life=10, max_interests=3)
    assert (only.row, only.size) == (0, 5)  # ties go to the newest
