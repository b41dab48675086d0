"""Tests for embedder/finetune/data/source_balance.py: close sources are drawn more often."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, linprog

from embedder.finetune.data.source_balance import (
    balanced_weights,
    closeness,
    closeness_by_kind,
    transport_plan,
)


def unit_vectors(num, dim, seed):
    vectors = np.random.default_rng(seed).normal(size=(num, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_plan_carries_all_and_has_the_form_of_the_optimum():
    cost = np.random.default_rng(0).uniform(0, 2, size=(4, 6))
    plan = transport_plan(cost, entropy=0.3)
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 4, rtol=1e-5)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / 6, rtol=1e-5)
    # The one plan with these sums whose logarithm is -cost / entropy, but for rows and columns.
    rest = np.log(plan) + cost / 0.3
    rest -= rest.mean(axis=0) + rest.mean(axis=1, keepdims=True) - rest.mean()
    np.testing.assert_allclose(rest, 0, atol=1e-9)


def test_with_little_entropy_a_plan_is_the_cheapest():
    cost = np.random.default_rng(1).uniform(0, 1, size=(3, 5))
    sums = [np.repeat(np.eye(3), 5, axis=1), np.tile(np.eye(5), 3)]
    cheapest = linprog(cost.ravel(), A_eq=np.vstack(sums), b_eq=[1 / 3] * 3 + [1 / 5] * 5).fun
    assert (transport_plan(cost, entropy=0.005) * cost).sum() == pytest.approx(cheapest, abs=1e-3)


def test_closeness_is_the_mean_cosine_to_the_partners():
    one, other = unit_vectors(8, 5, 0), unit_vectors(8, 5, 1)
    cosine = one @ other.T
    rows, columns = linear_sum_assignment(-cosine)
    assert closeness(one, other, entropy=0.003) == pytest.approx(
        cosine[rows, columns].mean(), abs=1e-2
    )
    axes = np.eye(4, dtype=np.float32)
    assert closeness(axes[:2], axes[:2]) == pytest.approx(1, abs=1e-6)
    assert closeness(axes[:2], axes[2:]) == pytest.approx(0, abs=1e-6)
    # Half of the mass finds its like, which one nearest content for all would hide.
    assert closeness(axes[[0, 0]], axes[:2]) == pytest.approx(0.5, abs=1e-6)


def test_both_sides_of_a_source_count_alike():
    axes = np.eye(3)
    found = closeness_by_kind(
        [axes[:1], axes[:1]], {"a": [axes[:1], axes[1:2]], "b": [axes[:1]] * 2}
    )
    assert found == pytest.approx({"a": 0.5, "b": 1.0})


def test_the_closest_source_weighs_what_it_may_and_the_others_fall_off_exponentially():
    weights = balanced_weights({"far": 0.2, "near": 0.6, "middle": 0.4}, max_weight=2)
    assert weights["near"] == pytest.approx(2)
    assert sum(weights.values()) == pytest.approx(3)
    assert weights["near"] / weights["middle"] == pytest.approx(weights["middle"] / weights["far"])


@pytest.mark.parametrize(
    ("closeness_of", "max_weight", "expected"),
    [
        ({"a": 0.5, "b": 0.5}, 2, {"a": 1, "b": 1}),  # how many pairs they have is not asked
        ({"a": 0.9, "b": 0.1}, 1, {"a": 1, "b": 1}),
        ({"a": 0.9, "b": 0.1}, 5, {"a": 2, "b": 0}),  # more than everything is everything
        ({"a": 0.9}, 2, {"a": 1}),
    ],
)
def test_weights_at_their_bounds(closeness_of, max_weight, expected):
    found = balanced_weights(closeness_of, max_weight=max_weight)
    assert found == pytest.approx(expected, abs=1e-3)
