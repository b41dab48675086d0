"""Tests for evaluation/calibration.py, against scikit-learn and by arithmetic."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss

from evaluation.calibration import Platt, calibration, log_loss, reliability

RNG = np.random.default_rng(0)
SCORE_N = 30 * RNG.normal(size=2_000)
POSITIVE_N = RNG.random(2_000) < 1 / (1 + np.exp(-(SCORE_N / 20 - 1)))
USER_N = np.array([f"u{n % 50}" for n in range(2_000)])


def test_the_mapping_is_logistic_regression():
    expected = LogisticRegression(C=1e12, tol=1e-10).fit(SCORE_N[:, None] / 30, POSITIVE_N)
    found = Platt.fitted(SCORE_N, POSITIVE_N)
    assert found.slope == pytest.approx(expected.coef_[0, 0] / 30, rel=1e-4)
    assert found.intercept == pytest.approx(expected.intercept_[0], rel=1e-4)


def test_logloss_and_reliability_are_those_of_scikit_learn():
    probability_N = Platt.fitted(SCORE_N, POSITIVE_N).probabilities(SCORE_N)
    expected = sklearn_log_loss(POSITIVE_N, probability_N)
    assert log_loss(probability_N, POSITIVE_N).mean() == pytest.approx(expected)
    observed, predicted = calibration_curve(
        POSITIVE_N, probability_N, n_bins=10, strategy="quantile"
    )
    bins = reliability(probability_N, POSITIVE_N)
    assert [b.predicted for b in bins] == pytest.approx(predicted.tolist())
    assert [b.observed for b in bins] == pytest.approx(observed.tolist())
    assert sum(b.num_rows for b in bins) == 2_000


def test_equal_probabilities_share_a_bin():
    bins = reliability(np.array([0.5, 0.5, 0.5, 0.9]), np.array([True, False, False, True]))
    assert [(b.predicted, b.observed, b.num_rows) for b in bins] == [
        (0.5, pytest.approx(1 / 3), 3),
        (0.9, 1.0, 1),
    ]


def test_the_error_weighs_bins_by_their_rows():
    found = calibration(
        np.array([0.5, 0.5, 0.5, 0.9]), np.array([True, False, False, True]), USER_N[:4]
    )
    assert found.error == pytest.approx((3 * (0.5 - 1 / 3) + 0.1) / 4)
    assert found.gain is None


def test_gain_is_what_is_saved_over_the_baseline():
    known, coin = np.full(100, 0.9), np.full(100, 0.5)
    found = calibration(known, np.ones(100, bool), USER_N[:100], baseline_N=coin)
    assert found.gain.mean == pytest.approx(math.log(0.9 / 0.5))


@pytest.mark.parametrize("positive_N", [np.zeros(4, bool), np.ones(4, bool)])
def test_one_kind_of_rows_maps_every_score_to_its_share(positive_N):
    mapped = Platt.fitted(np.arange(4.0), positive_N).probabilities(np.arange(4.0))
    np.testing.assert_allclose(mapped, positive_N, atol=1e-9)


def test_separable_rows_have_a_finite_mapping():
    found = Platt.fitted(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True]))
    assert math.isfinite(found.slope)
    assert found.slope > 0
