"""Tests for evaluation/bootstrap.py."""

import math

import numpy as np
import pytest

from evaluation.bootstrap import bootstrap_difference, bootstrap_mean


def test_interval_is_that_of_the_normal_approximation():
    value = np.random.default_rng(0).normal(3, 2, size=2000)
    got = bootstrap_mean(value, num_resamples=2000)
    error = value.std() / math.sqrt(len(value))
    assert got.mean == pytest.approx(value.mean())
    # An end of 2,000 resamples has a standard error of about 0.06 of the mean's.
    assert got.low == pytest.approx(value.mean() - 1.96 * error, abs=0.25 * error)
    assert got.high == pytest.approx(value.mean() + 1.96 * error, abs=0.25 * error)


def test_copies_of_a_user_are_not_more_evidence():
    value = np.random.default_rng(1).normal(size=200)
    once = bootstrap_mean(value)
    copied = bootstrap_mean(np.repeat(value, 9), cluster_G=np.repeat(np.arange(200), 9))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    careless = bootstrap_mean(np.repeat(value, 9))
    assert careless.high - careless.low < 0.5 * (once.high - once.low)


def test_paired_difference_is_far_narrower_than_its_parts():
    hard = np.random.default_rng(2).normal(size=500)
    got = bootstrap_difference(hard + 0.01, hard)
    assert got.mean == pytest.approx(0.01)
    assert got.low == pytest.approx(0.01)
    assert got.high == pytest.approx(0.01)


def test_weights_and_missing_values():
    got = bootstrap_mean(np.array([1.0, 4.0, math.nan]), weight_G=np.array([3.0, 1.0, 99.0]))
    assert got.mean == pytest.approx((3 * 1 + 1 * 4) / 4)
    assert math.isnan(bootstrap_mean(np.array([math.nan])).mean)


def test_equal_seeds_give_equal_intervals():
    value = np.arange(50.0)
    assert bootstrap_mean(value, seed=3) == bootstrap_mean(value, seed=3)
    assert bootstrap_mean(value, seed=3) != bootstrap_mean(value, seed=4)
