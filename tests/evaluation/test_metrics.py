"""Tests for evaluation/metrics.py against scikit-learn and arithmetic."""

import math

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from evaluation.metrics import auc, group_auc, means, measure, num_retrieved, weighted_mean
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
    assert auc(relevance, score, weight_N=weight) == pytest.approx(expected, abs=1e-12)


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
    gauc = weighted_mean(group_auc(rankings), num_retrieved(rankings))
    assert gauc == pytest.approx(weighted / total, abs=1e-12)


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
    assert np.isnan(group_auc(Rankings.of(only))).tolist() == [True]
    assert math.isnan(weighted_mean(np.array([math.nan]), np.ones(1)))


def test_metrics_of_lists_match_arithmetic():
    ranked = [["a", "b", "c"], ["c", "b", "a"]]
    relevant = [{"b", "z"}, {"c"}]
    names = [f"{metric}@{k}" for metric in ("hit", "recall", "ndcg") for k in (1, 3)]
    metrics = means(measure(Rankings.of_lists(ranked, relevant), names))
    first = (1 / math.log2(3)) / (1 + 1 / math.log2(3))  # b second; a and z could be 1st and 2nd
    assert metrics == pytest.approx(
        {
            "hit@1": 0.5,
            "hit@3": 1.0,
            "recall@1": 0.5,
            "recall@3": (0.5 + 1.0) / 2,
            "ndcg@1": 0.5,
            "ndcg@3": (first + 1.0) / 2,
        }
    )


def test_ndcg_of_lists_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    relevance = (rng.random((20, 30)) < 0.2).astype(int)
    relevance[:, 0] = 1
    score = rng.random((20, 30))
    ranked = [[str(n) for n in np.argsort(-row)] for row in score]
    relevant = [{str(n) for n in np.flatnonzero(row)} for row in relevance]
    ours = means(measure(Rankings.of_lists(ranked, relevant), ("ndcg@5", "ndcg@10")))
    assert ours["ndcg@5"] == pytest.approx(ndcg_score(relevance, score, k=5))
    assert ours["ndcg@10"] == pytest.approx(ndcg_score(relevance, score, k=10))


@pytest.mark.parametrize(
    ("ranked", "relevant", "match"),
    [
        ([], [], "at least one, got 0 and 0"),
        ([["a"]], [{"a"}, {"b"}], "got 1 and 2"),
        ([["a"], ["b"]], [{"a"}, set()], "got 1 without one"),
    ],
)
def test_lists_without_a_metric_are_refused(ranked, relevant, match):
    with pytest.raises(ValueError, match=match):
        Rankings.of_lists(ranked, relevant)


def test_metrics_of_places_match_arithmetic():
    found = measure(Rankings.of_places(np.array([2, 1, 11, np.inf])), ("hit@10", "ndcg@10", "mrr"))
    assert found["hit@10"].tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(found["ndcg@10"], [1 / math.log2(3), 1, 0, 0])
    np.testing.assert_allclose(found["mrr"], [1 / 2, 1, 1 / 11, 0])


def test_a_place_is_worth_what_it_is_worth_in_a_list():
    names = ("hit@3", "recall@3", "ndcg@3", "ndcg@10", "mrr")
    ids = ["a", "b", "c", "d", "e"]
    lists = measure(Rankings.of_lists([ids] * 5, [{i} for i in ids]), names)
    places = measure(Rankings.of_places(np.arange(1, 6)), names)
    for name in names:
        np.testing.assert_array_equal(lists[name], places[name])


def test_lists_are_measured_as_the_scores_that_order_them():
    rng = np.random.default_rng(2)
    rows = random_rows(2).with_columns(score=pl.Series(rng.permutation(400) / 400))
    rows = rows.filter(pl.col("relevance").max().over("request_id") == 1)
    of_scores = Rankings.of(rows)
    grouped = rows.sort("score", descending=True).group_by("request_id").agg("item_id")
    right = rows.filter(pl.col("relevance") == 1).group_by("request_id").agg(right="item_id")
    both = grouped.join(right, on="request_id").sort("request_id")
    of_lists = Rankings.of_lists(both["item_id"].to_list(), [set(r) for r in both["right"]])
    names = ("hit@5", "recall@5", "ndcg@5", "ndcg", "mrr")
    for name, values in measure(of_lists, names).items():
        np.testing.assert_allclose(values, measure(of_scores, [name])[name], rtol=1e-12)
    np.testing.assert_allclose(group_auc(of_lists), group_auc(of_scores), rtol=1e-12)
