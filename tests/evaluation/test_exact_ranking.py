"""Tests for evaluation/exact_ranking.py, against brute force, scikit-learn and arithmetic."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from evaluation.exact_ranking import leave_last_out, rank_all, ranking_metrics


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_the_ranking_is_that_of_sorting_all_scores(seed, top_k):
    rng = np.random.default_rng(seed)
    # Whole numbers: exact scores, and many ties for the ids to settle.
    queries, items = rng.integers(-2, 3, (3, 2)), rng.integers(-2, 3, (9, 2))
    ids = [f"i{n}" for n in rng.permutation(9)]
    exclude = [set(rng.choice(ids, 2)) | {"unknown"} for _ in queries]
    expected = [
        sorted(
            (i for i in ids if i not in exclude[q]),
            key=lambda i, q=q: (-(queries[q] @ items[ids.index(i)]), i),
        )[:top_k]
        for q in range(3)
    ]
    assert rank_all(queries, items, ids, top_k=top_k, exclude=exclude) == expected


def test_the_ranking_of_a_query_does_not_depend_on_its_batch():
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(150, 257))
    items = np.tile(rng.normal(size=(67, 257)), (3, 1))  # every item three times: ties
    queries, items = (v / np.linalg.norm(v, axis=1)[:, None] for v in (queries, items))
    ids = [f"i{n:03d}" for n in range(201)]
    together = rank_all(queries, items, ids, top_k=201)
    alone = [rank_all(query[None], items, ids, top_k=201)[0] for query in queries]
    assert together == alone
    for ranked in together:  # n, n + 67 and n + 134 are one item: in order of id
        assert [int(i[1:]) // 67 for i in ranked] == [0, 1, 2] * 67


def test_metrics_match_arithmetic():
    ranked = [["a", "b", "c"], ["c", "b", "a"]]
    relevant = [{"b", "z"}, {"c"}]
    metrics = ranking_metrics(ranked, relevant, ks=(1, 3))
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


def test_ndcg_matches_scikit_learn():
    rng = np.random.default_rng(1)
    relevance = (rng.random((20, 30)) < 0.2).astype(int)
    relevance[:, 0] = 1
    score = rng.random((20, 30))
    ranked = [[str(n) for n in np.argsort(-row)] for row in score]
    relevant = [{str(n) for n in np.flatnonzero(row)} for row in relevance]
    ours = ranking_metrics(ranked, relevant, ks=(5, 10))
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
def test_metrics_that_are_not_defined_are_refused(ranked, relevant, match):
    with pytest.raises(ValueError, match=match):
        ranking_metrics(ranked, relevant)


def test_wrong_input_of_a_ranking_is_refused():
    with pytest.raises(ValueError, match="must have length 2, one per vector, got 1"):
        rank_all(np.eye(2), np.eye(2), ["a"], top_k=1)
    with pytest.raises(ValueError, match="top_k must be >= 1, got 0"):
        rank_all(np.eye(2), np.eye(2), ["a", "b"], top_k=0)


def test_the_newest_item_is_held_out_and_found_from_the_ones_before():
    items = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0, 0.6], [0, 0.8, 0.6]])
    ids = ["a", "b", "c", "near-a", "near-b"]
    histories = {
        "found": ["near-a", "a"],  # near-a .8 leads, for a itself is left out
        "second": ["c", "near-b", "gone"],  # b .8, c .6
        "nothing before": ["a"],
        "nothing new": ["a", "b", "a"],
        "unknown": ["gone", "lost"],
    }
    metrics = leave_last_out(histories, items, ids, ks=(1, 2))
    assert metrics["num_users"] == 2
    assert metrics["hit@1"] == 0.5
    assert metrics["hit@2"] == 1.0
    assert metrics["ndcg@2"] == pytest.approx((1 + 1 / math.log2(3)) / 2)


def test_histories_that_hold_nothing_to_test_are_refused():
    with pytest.raises(ValueError, match="got 1 users and none such"):
        leave_last_out({"u": ["a"]}, np.eye(1), ["a"])
