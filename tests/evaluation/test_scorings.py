"""Tests for evaluation/scorings.py, against scikit-learn and the metrics that it sums up."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.metrics import hit, ndcg
from evaluation.rankings import Rankings
from evaluation.scorings import evaluate_scorings


def gauc(frame, score):
    """AUC of each request with both kinds, weighing its rows."""
    groups = frame.with_columns(score=pl.Series(score)).partition_by("request_id")
    both = [g for g in groups if 0 < (g["relevance"] > 0).sum() < len(g)]
    return np.average(
        [roc_auc_score(g["relevance"] > 0, g["score"]) for g in both],
        weights=[len(g) for g in both],
    )


def test_evaluation_agrees_with_the_metrics():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "request_id": [f"r{k // 8}" for k in range(400)],
            "user_id": [f"u{k // 40}" for k in range(400)],
            "ts": datetime(2026, 1, 1, tzinfo=UTC),
            "item_id": [f"i{k}" for k in range(400)],
            "relevance": rng.integers(0, 3, 400) * (rng.random(400) < 0.2),
        }
    )
    score = rng.normal(size=400)
    got = evaluate_scorings(frame, {"it": score}, num_resamples=10).metrics["it"]
    rankings = Rankings.of(frame.with_columns(score=pl.Series(score)))
    answered = frame.group_by("request_id").agg(pl.col("relevance").max()).sort("request_id")
    kept = (answered["relevance"] > 0).to_numpy()
    assert got["auc"].mean == pytest.approx(roc_auc_score(frame["relevance"] > 0, score))
    assert got["gauc"].mean == pytest.approx(gauc(frame, score))
    assert got["ndcg@10"].mean == pytest.approx(ndcg(rankings, k=10, gain="exp2")[kept].mean())
    assert got["hit@10"].mean == pytest.approx(hit(rankings, k=10)[kept].mean())


def test_equal_scorings_differ_by_nothing():
    frame = pl.DataFrame(
        {
            "request_id": ["r", "r"],
            "user_id": ["u", "u"],
            "ts": datetime(2026, 1, 1, tzinfo=UTC),
            "item_id": ["a", "b"],
            "relevance": [1, 0],
        }
    )
    score = np.array([1.0, 0.0])
    got = evaluate_scorings(frame, {"a": score, "b": score}, num_resamples=5).differences["b"]
    assert {(i.mean, i.low, i.high) for i in got.values()} == {(0.0, 0.0, 0.0)}


def test_users_who_share_a_request_id_have_a_request_each():
    frame = pl.DataFrame(
        {
            "request_id": "r",
            "user_id": ["u", "u", "v", "v"],
            "ts": datetime(2026, 1, 1, tzinfo=UTC),
            "item_id": ["a", "b", "a", "b"],
            "relevance": [1, 0, 0, 1],
        }
    )
    got = evaluate_scorings(frame, {"it": np.array([4.0, 3.0, 1.0, 2.0])}, num_resamples=5)
    assert got.num_requests == 2
    # Each page is in the right order; mixed into one, v's answer would come behind u's other item.
    assert got.metrics["it"]["gauc"].mean == 1
