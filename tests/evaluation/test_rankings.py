"""Tests for evaluation/rankings.py and the edge cases of evaluation/metrics.py, by hand."""

import math

import numpy as np
import polars as pl
import pytest

from evaluation import metrics
from evaluation.rankings import Rankings


def candidates(*rows):
    """Rows of (request, item, score, relevance)."""
    return pl.DataFrame(
        rows,
        schema={
            "request_id": pl.String,
            "item_id": pl.String,
            "score": pl.Float64,
            "relevance": pl.Int32,
        },
        orient="row",
    )


def test_row_order_never_shows():
    rows = [("r", f"i{k}", float(k % 3), k % 2) for k in range(9)] + [("q", "a", 1.0, 1)]
    forward, backward = Rankings.of(candidates(*rows)), Rankings.of(candidates(*rows[::-1]))
    np.testing.assert_array_equal(forward.relevance_N, backward.relevance_N)
    np.testing.assert_array_equal(forward.rank_N, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9])


def test_ties_go_to_the_larger_id():
    tied = Rankings.of(candidates(("r", "a", 1.0, 0), ("r", "b", 1.0, 1)))
    assert metrics.reciprocal_rank(tied).tolist() == [1.0]


def test_ndcg_by_hand():
    rankings = Rankings.of(candidates(("r", "a", 3.0, 0), ("r", "b", 2.0, 2), ("r", "c", 1.0, 1)))
    dcg, ideal = 2 / math.log2(3) + 1 / 2, 2 + 1 / math.log2(3)
    assert metrics.ndcg(rankings).tolist() == pytest.approx([dcg / ideal])
    dcg, ideal = 3 / math.log2(3), 3 + 1 / math.log2(3)
    assert metrics.ndcg(rankings, k=2, gain="exp2").tolist() == pytest.approx([dcg / ideal])


def test_group_answered_with_nothing_scores_zero():
    judged = pl.DataFrame({"request_id": ["r", "s"], "item_id": ["a", "a"], "relevance": [1, 1]})
    rankings = Rankings.of(candidates(("r", "a", 1.0, None), ("x", "a", 1.0, None)), judged)
    assert rankings.groups.to_list() == ["r", "s"]
    assert metrics.ndcg(rankings).tolist() == [1.0, 0.0]
    assert metrics.recall(rankings, k=10).tolist() == [1.0, 0.0]


def test_score_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="first 'b' of request_id 'r'"):
        Rankings.of(candidates(("r", "a", 1.0, 1), ("r", "b", math.nan, 0)))
