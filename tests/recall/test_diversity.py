"""Tests for recall/diversity.py, against brute force."""

import numpy as np
import pytest

from recall.diversity import distinct, mmr


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 4)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def relevance(vectors):
    return np.sort(np.random.default_rng(1).uniform(size=len(vectors)))[::-1]


def brute_force(relevance, vectors, weight, limit):
    taken = []
    while len(taken) < limit:
        gains = {
            row: weight * relevance[row]
            - (1 - weight) * max((float(vectors[row] @ vectors[t]) for t in taken), default=0.0)
            for row in range(len(vectors))
            if row not in taken
        }
        taken.append(max(gains, key=lambda row: (round(gains[row], 9), -row)))
    return taken


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 0.95])
def test_maximal_marginal_relevance_equals_brute_force(relevance, vectors, weight):
    found = mmr(relevance, vectors, mmr_lambda=weight, limit=12)
    assert found == brute_force(relevance, vectors, weight, 12)


def test_lambda_one_keeps_the_order_and_no_more_than_there_are_come(relevance, vectors):
    assert mmr(relevance, vectors, mmr_lambda=1.0, limit=99) == list(range(30))
    assert mmr(relevance[:0], vectors[:0], mmr_lambda=0.5, limit=3) == []


def test_opposite_items_are_more_diverse_than_unrelated_ones():
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    assert mmr(np.ones(3), vectors, mmr_lambda=0.5, limit=2) == [0, 2]


def test_near_duplicates_of_better_ones_go_and_equal_images_too():
    vectors = np.array([[1, 0], [0.6, 0.8], [1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    images = ["x", None, None, "y", "x"]
    rows = {"max_similarity": 1.0, "limit": 9}
    assert distinct(vectors, [None] * 5, **rows) == [0, 1, 3, 4]
    assert distinct(vectors, images, **rows) == [0, 1, 3]
    # cos(0, 1) = .6, cos(1, 3) = .8
    assert distinct(vectors, [None] * 5, max_similarity=0.8, limit=9) == [0, 1, 4]
    assert distinct(vectors, [None] * 5, max_similarity=0.6, limit=9) == [0, 3, 4]
    assert distinct(vectors, images, max_similarity=1.0, limit=2) == [0, 1]


def test_what_was_dropped_hides_nothing():
    """Row 2 is like row 1, which is like row 0 and gone; row 2 is not like row 0 and stays."""
    angle = np.radians([0, 20, 40])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    assert distinct(vectors, [None] * 3, max_similarity=np.cos(np.radians(30)), limit=9) == [0, 2]
