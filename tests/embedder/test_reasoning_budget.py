"""Tests for embedder/reasoning_budget.py: theta by counting."""

import math
import random

import pytest

from embedder.reasoning_budget import MeasuredGate, ReasoningBudget, parse_budget


def gate(*probabilities, direct_ms=2.0, reasoned_ms=12.0):
    return MeasuredGate(probabilities=probabilities, direct_ms=direct_ms, reasoned_ms=reasoned_ms)


@pytest.mark.parametrize("text", ["", "30", "101%", "-1%", "5 s", "x%"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ValueError, match="a share like 30% or a time like 5ms"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("share", "theta"),
    [(1.0, 0.0), (0.75, 0.4), (0.5, 0.6), (0.25, 0.9), (0.6, 0.6), (0.0, math.nextafter(0.9, 1))],
)
def test_theta_is_the_least_that_keeps_within_a_share(share, theta):
    assert gate(0.1, 0.9, 0.4, 0.6).theta(ReasoningBudget(share=share)) == theta


def test_inputs_of_equal_probability_are_taken_together_or_not_at_all():
    assert gate(0.9, 0.5, 0.5, 0.1).theta(ReasoningBudget(share=0.5)) == 0.9


def test_a_time_is_what_reasoning_adds_to_the_share():
    # 2 ms directly and 12 reasoned: 7 ms in the mean are half of the inputs.
    assert gate(0.1, 0.9).share(ReasoningBudget(mean_ms=7.0)) == pytest.approx(0.5)
    assert gate(0.1, 0.9).share(ReasoningBudget(mean_ms=1.0)) == 0
    assert gate(0.1, 0.9).share(ReasoningBudget(mean_ms=99.0)) == 1


def test_no_smaller_theta_would_do_and_this_one_does():
    rng = random.Random(0)
    for _ in range(200):
        measured = gate(*(rng.choice((0.0, 0.2, 0.5, 0.7, 1.0)) for _ in range(rng.randint(1, 9))))
        share = rng.random()
        theta = measured.theta(ReasoningBudget(share=share))
        spent = sum(p >= theta for p in measured.probabilities)
        allowed = share * len(measured.probabilities)
        assert spent <= allowed
        lower = [p for p in measured.probabilities if p < theta]
        if lower:
            assert sum(p >= max(lower) for p in measured.probabilities) > allowed
