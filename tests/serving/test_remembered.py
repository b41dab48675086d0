"""Tests for serving/remembered.py."""

import pytest

from serving.remembered import Remembered


def test_a_value_is_made_once_for_as_long_as_it_may_be_old():
    made, now = [], [0.0]
    remembered = Remembered(lambda: made.append(now[0]), max_age_s=10, clock=lambda: now[0])
    for now[0] in (0.0, 10.0, 10.5, 20.0, 21.0):
        remembered.get()
    assert made == [0.0, 10.5, 21.0]


def test_an_error_is_not_remembered():
    outcomes = iter([ValueError("not now"), "there"])

    def make():
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    remembered = Remembered(make, max_age_s=10)
    with pytest.raises(ValueError, match="not now"):
        remembered.get()
    assert remembered.get() == "there"
