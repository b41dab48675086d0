"""Tests for evaluation/auc.py against scikit-learn."""

import math

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.auc import auc, gauc, group_auc
from evaluation.rankings import Rankings


def random_rows(seed, num_rows=400, num_groups=30):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "request_id": [f"r{g}" for g in rng.integers(num_groups, size=num_rows)],
            "item_id": [f"i{k}" for k in range(num_rows)],
            "score": rng.integers(0, 6, num_rows) / 5,  # many ties
            "relevance": (rng.random(num_rows) < 0.15).astype(int),
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_auc_is_that_of_scikit_learn(seed):
    rows = random_rows(seed)
    relevance, score = rows["relevance"].to_numpy(), rows["score"].to_numpy()
    assert auc(relevance, score) == pytest.approx(roc_auc_score(relevance, score), abs=1e-12)
    weight = np.random.default_rng(seed).integers(0, 4, len(rows)).astype(float)
    expected = roc_auc_score(relevance, score, sample_weight=weight)
    assert auc(relevance, score, weight=weight) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_group_auc_is_that_of_scikit_learn(seed):
    rows = random_rows(seed)
    rankings = Rankings.of(rows)
    got = dict(zip(rankings.groups, group_auc(rankings), strict=True))
    weighted, total = 0.0, 0
    for (request,), group in rows.group_by("request_id"):
        if group["relevance"].n_unique() < 2:
            assert math.isnan(got[request])
            continue
        expected = roc_auc_score(group["relevance"].to_numpy(), group["score"].to_numpy())
        assert got[request] == pytest.approx(expected, abs=1e-12)
        weighted, total = weighted + len(group) * expected, total + len(group)
    assert gauc(rankings) == pytest.approx(weighted / total, abs=1e-12)


def test_equal_scores_of_two_groups_are_not_a_tie():
    rows = pl.DataFrame(
        {
            "request_id": ["q", "q", "r", "r"],
            "item_id": ["a", "b", "a", "b"],
            "score": [2.0, 1.0, 1.0, 0.0],  # the worst of q equals the best of r
            "relevance": [1, 0, 1, 0],
        }
    )
    assert group_auc(Rankings.of(rows)).tolist() == [1.0, 1.0]


def test_all_tied_is_a_coin_toss():
    assert auc(np.array([1, 0, 0]), np.array([2.0, 2.0, 2.0])) == 0.5


def test_one_kind_alone_has_no_auc():
    assert math.isnan(auc(np.array([1, 1]), np.array([1.0, 2.0])))
    only = pl.DataFrame({"request_id": ["r"], "item_id": ["a"], "score": [1.0], "relevance": [1]})
    assert math.isnan(gauc(Rankings.of(only)))
