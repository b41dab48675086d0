"""Tests for bench/run_intervals.py."""

import itertools
import math

import numpy as np
import pytest

from bench.run_intervals import bootstrap_over_runs


def test_runs_are_drawn_before_the_values_within_them():
    # Values that are all alike leave the runs' means: all 27 ways to draw three of them.
    means = [0.0, 0.3, 0.9]
    got = bootstrap_over_runs([np.full(5, mean) for mean in means], num_resamples=4000)
    drawn = [sum(three) / 3 for three in itertools.product(means, repeat=3)]
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    assert got.mean == pytest.approx(0.4)
    assert (got.low, got.high) == pytest.approx((low, high))


def test_of_one_run_the_values_alone_are_drawn():
    value = np.random.default_rng(3).normal(3, 2, size=2000)
    error = value.std() / math.sqrt(len(value))
    got = bootstrap_over_runs([value])
    assert got.high - got.low == pytest.approx(2 * 1.96 * error, rel=0.1)
