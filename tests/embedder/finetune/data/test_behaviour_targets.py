"""Tests for embedder/finetune/data/behaviour_targets.py."""

import math
import random
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from embedder.finetune.data.behaviour_targets import (
    behaviour_vectors,
    procrustes_align,
    with_popularity,
)
from embedder.finetune.data.interactions import interaction_matrix
from embedder.finetune.data.item_similarity import ppmi

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def positives(*likes, ts=NOON):
    rows = [(user, item, ts) for user, items in likes for item in items]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "ts"], orient="row")


def crowd(seed=0):
    rng = random.Random(seed)
    likes = [(f"u{n}", rng.sample("abcdefghij", 4)) for n in range(30)]
    return positives(*likes)


def matrix(frame):
    return np.array(frame["vector"].to_list())


def unit_rows(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_vectors_are_the_rows_of_the_truncated_decomposition_of_ppmi():
    found = behaviour_vectors(crowd(), before=NOON + timedelta(1), dim=3)
    left, sizes, _ = np.linalg.svd(ppmi(interaction_matrix(crowd()).liked_UI).toarray())
    assert sizes[2] - sizes[3] > 1e-3  # else the third direction is anyone's
    expected = unit_rows(left[:, :3] * np.sqrt(sizes[:3]))
    assert found["item_id"].to_list() == list("abcdefghij")
    # Cosines, because every singular vector has a free sign.
    np.testing.assert_allclose(matrix(found) @ matrix(found).T, expected @ expected.T, atol=1e-5)


def test_what_is_liked_together_comes_to_lie_together():
    likes = [(f"u{n}", items) for n, items in enumerate(["abc", "abc", "def", "def", "ad"])]
    found = behaviour_vectors(positives(*likes), before=NOON + timedelta(1), dim=2)
    cosines = matrix(found) @ matrix(found).T
    assert cosines[0, 1:3].min() > cosines[0, 3:].max()


def test_events_from_the_split_on_are_not_seen():
    later = positives(("v", "az"), ts=NOON + timedelta(1))
    before = NOON + timedelta(1)
    with_later = behaviour_vectors(pl.concat([crowd(), later]), before=before, dim=3)
    assert with_later.equals(behaviour_vectors(crowd(), before=before, dim=3))


def test_an_item_that_shares_no_user_has_no_vector():
    alone = pl.concat([crowd(), positives(("v", "z"))])
    found = behaviour_vectors(alone, before=NOON + timedelta(1), dim=3)
    assert found["item_id"].to_list() == list("abcdefghij")


def test_a_dim_that_leaves_nothing_to_factorise_is_refused():
    with pytest.raises(ValueError, match="less than the number of items, 10, got 10"):
        behaviour_vectors(crowd(), before=NOON + timedelta(1), dim=10)


def test_turning_keeps_cosines_and_undoes_a_rotation():
    rng = np.random.default_rng(0)
    behaviour = unit_rows(rng.normal(size=(50, 3)))
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    model = behaviour @ rotation[:3]
    turned = procrustes_align(behaviour, model)
    np.testing.assert_allclose(turned, model, atol=1e-6)
    noisy = procrustes_align(behaviour, unit_rows(model + 0.3 * rng.normal(size=model.shape)))
    np.testing.assert_allclose(noisy @ noisy.T, behaviour @ behaviour.T, atol=1e-5)


def test_turning_brings_vectors_nearer_than_other_turns_do():
    rng = np.random.default_rng(1)
    behaviour, model = (
        unit_rows(rng.normal(size=(20, 3))),
        unit_rows(rng.normal(size=(20, 4))),
    )
    best = (procrustes_align(behaviour, model) * model).sum()
    for _ in range(200):
        other, _ = np.linalg.qr(rng.normal(size=(4, 3)))
        assert (behaviour @ other.T * model).sum() <= best


def test_behaviour_vectors_longer_than_the_models_are_refused():
    with pytest.raises(ValueError, match="must not be longer than the model's, 2, got 3"):
        procrustes_align(np.eye(3), np.eye(3)[:, :2])


def test_popularity_is_one_direction_more():
    likes = positives(("t", "abbc"), *((user, "a") for user in "uvwxyz"))
    behaviour = pl.DataFrame({"item_id": ["b", "a"], "vector": [[0.6, 0.8], [1.0, 0.0]]})
    found = with_popularity(behaviour, likes, before=NOON + timedelta(1), share=0.5)
    assert found["item_id"].to_list() == ["b", "a"]
    part = 0.5 * (2 * math.log(2) / math.log(8) - 1)  # one user of b, seven of a, the most
    size = math.sqrt(1 - part**2)
    expected = [[0.6 * size, 0.8 * size, part], [math.sqrt(0.75), 0, 0.5]]
    np.testing.assert_allclose(found["vector"].to_list(), expected, atol=1e-6)


def test_popularity_after_the_split_is_not_counted():
    behaviour = pl.DataFrame({"item_id": ["a", "b"], "vector": [[1.0], [1.0]]})
    split = NOON + timedelta(1)
    likes = pl.concat([positives(("u", "a"), ("v", "b")), positives(("w", "a"), ts=split)])
    found = with_popularity(behaviour, likes, before=split, share=0.5)
    assert found["vector"][0].to_list() == found["vector"][1].to_list()
