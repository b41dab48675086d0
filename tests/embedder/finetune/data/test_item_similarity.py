"""Tests for embedder/finetune/data/item_similarity.py: against double loops over both."""

import math
import random
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from embedder.finetune.data.interactions import interaction_matrix
from embedder.finetune.data.item_similarity import cosine, ppmi, swing


def likes(seed, num_users=12, num_items=9):
    rng = random.Random(seed)
    return {
        f"u{user:02d}": {f"i{item}" for item in range(num_items) if rng.random() < 0.4}
        for user in range(num_users)
    }


def frame(items_of_user):
    rows = [(user, item) for user, items in items_of_user.items() for item in sorted(items)]
    random.Random(0).shuffle(rows)
    return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")


def brute_swing(items_of_user, item_ids, alpha):
    scores = np.zeros((len(item_ids), len(item_ids)))
    for i, one in enumerate(item_ids):
        for j, other in enumerate(item_ids):
            both = [items for items in items_of_user.values() if one in items and other in items]
            if i != j:
                scores[i, j] = sum(
                    1 / math.sqrt(len(u) * len(v)) / (alpha + len(u & v))
                    for u, v in combinations(both, 2)
                )
    return scores


def brute_ppmi(items_of_user, item_ids):
    counts = np.zeros((len(item_ids), len(item_ids)))
    for items in items_of_user.values():
        for one in items:
            for other in items - {one}:
                counts[item_ids.index(one), item_ids.index(other)] += 1
    expected = counts.sum(axis=1)[:, None] * counts.sum(axis=0) / counts.sum()
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(counts / expected), 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_swing_is_the_double_loop_over_users(seed, alpha):
    items_of_user = likes(seed)
    liked = interaction_matrix(frame(items_of_user))
    expected = brute_swing(items_of_user, liked.item_ids, alpha)
    np.testing.assert_allclose(swing(liked.liked_UI, alpha=alpha).toarray(), expected, atol=1e-12)


def test_swing_of_two_users_who_share_two_items():
    # They share a and b; u likes 2 items and v 8: 1 / sqrt(2 * 8) / (1 + 2).
    liked = interaction_matrix(frame({"u": {"a", "b"}, "v": set("abcdefgh")}))
    scores = swing(liked.liked_UI).toarray()
    assert scores[0, 1] == pytest.approx(1 / 12, abs=1e-12)
    assert scores[0, 1] == scores[1, 0]
    assert scores.sum() == pytest.approx(2 / 12, abs=1e-12)  # c to h have one user each


def test_swing_of_a_crowded_item_takes_the_users_with_the_fewest_items():
    items_of_user = {"w": {"a", "b", "c", "d"}, "u": {"a", "b"}, "v": {"a", "b", "c"}}
    liked = interaction_matrix(frame(items_of_user))
    two = {user: items_of_user[user] for user in ("u", "v")}
    expected = brute_swing(two, liked.item_ids, 1.0)
    # c has two users of its own, v and w, so there its own two count.
    expected[:3, 2] = expected[2, :3] = [1 / math.sqrt(12) / (1 + 3)] * 2 + [0]
    np.testing.assert_allclose(swing(liked.liked_UI, max_users=2).toarray(), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_cosine_is_that_of_the_items_columns(seed):
    liked = interaction_matrix(frame(likes(seed)))
    expected = cosine_similarity(liked.liked_UI.toarray().T)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(cosine(liked.liked_UI).toarray(), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_ppmi_is_the_double_loop_over_items(seed):
    items_of_user = likes(seed)
    liked = interaction_matrix(frame(items_of_user))
    expected = brute_ppmi(items_of_user, liked.item_ids)
    assert (expected > 0).any()
    np.testing.assert_allclose(ppmi(liked.liked_UI).toarray(), expected, atol=1e-12)


@pytest.mark.parametrize("similarity", [swing, cosine, ppmi])
def test_nobody_has_no_neighbours(similarity):
    liked = interaction_matrix(pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String}))
    assert similarity(liked.liked_UI).nnz == 0
