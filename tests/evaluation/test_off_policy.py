"""Tests for evaluation/off_policy.py: by arithmetic, and on a log whose answer is known."""

import numpy as np
import polars as pl
import pytest

from evaluation.off_policy import off_policy

LOG = pl.DataFrame(
    {
        "user_id": ["a", "a", "b", "c"],
        "propensity": [0.5, 0.5, 0.25, 0.25],
        "target": [0.5, 0.0, 1.0, 0.5],
        "reward": [1.0, 1.0, 0.0, 1.0],
    }
)  # weights 1, 0, 4, 2


def test_estimates_are_weighted_means():
    found = off_policy(LOG)
    assert found.logged.mean == 3 / 4
    assert found.ips.mean == (1 + 2) / 4
    assert found.snips.mean == pytest.approx((1 + 2) / (1 + 4 + 2))
    assert found.mean_weight == 7 / 4
    assert found.effective_rows == pytest.approx(7**2 / (1 + 16 + 4))
    assert (found.num_rows, found.num_users, found.clipped_share) == (4, 3, 0.0)


def test_a_large_weight_is_cut_and_told():
    found = off_policy(LOG, max_weight=2.0)
    assert found.snips.mean == pytest.approx((1 + 2) / (1 + 2 + 2))
    assert found.clipped_share == 1 / 4


def test_the_interval_holds_what_the_policy_really_earns():
    """Items pay 0.1, 0.3 and 0.8; they were shown at random and the policy prefers the last."""
    rng = np.random.default_rng(0)
    propensity_K, target_K = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7])
    pays_K = np.array([0.1, 0.3, 0.8])
    shown_N = rng.choice(3, size=20_000, p=propensity_K)
    log = pl.DataFrame(
        {
            "user_id": [f"u{n % 500}" for n in range(20_000)],
            "propensity": propensity_K[shown_N],
            "target": target_K[shown_N],
            "reward": rng.random(20_000) < pays_K[shown_N],
        }
    )
    found = off_policy(log, num_resamples=200)
    truth = float(target_K @ pays_K)
    assert found.ips.low < truth < found.ips.high
    assert found.snips.low < truth < found.snips.high
    assert found.logged.mean == pytest.approx(propensity_K @ pays_K, abs=0.02)  # sampling noise


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"propensity": 0.0}, r"propensity must be in \(0, 1\]"),
        ({"target": 1.5}, r"target must be in \[0, 1\]"),
        ({"reward": None}, "reward must be a finite number"),
    ],
)
def test_impossible_rows_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        off_policy(LOG.with_columns(pl.lit(v, pl.Float64).alias(k) for k, v in change.items()))


def test_a_log_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"got none named \['target'\]"):
        off_policy(LOG.drop("target"))
    with pytest.raises(ValueError, match="must have rows"):
        off_policy(LOG.head(0))
    with pytest.raises(ValueError, match="max_weight must be > 0"):
        off_policy(LOG, max_weight=0)
