"""Tests for serving/client_retries.py."""

import random

import pytest

from serving.client_retries import Patience, Tries


class Always:
    """A generator that always draws the same."""

    def __init__(self, drawn):
        self.random = lambda: drawn


def test_pauses_double_and_spread_by_up_to_as_much_again():
    patience = Patience(first_pause_s=0.1, max_tries=4)
    for drawn, expected in ((0.0, [0.1, 0.2, 0.4]), (0.5, [0.15, 0.3, 0.6])):
        tries = Tries(patience, clock=lambda: 0.0, rng=Always(drawn))
        assert [tries.pause_s() for _ in range(3)] == pytest.approx(expected)
        assert tries.pause_s() is None


def test_a_pause_is_as_long_as_the_service_asks():
    tries = Tries(Patience(), clock=lambda: 0.0)
    assert tries.pause_s("7") == 7.0


def test_a_pause_beyond_the_deadline_is_not_begun():
    now = [0.0]
    tries = Tries(Patience(deadline_s=10), clock=lambda: now[0], rng=random.Random(0))
    assert tries.pause_s("10") is None
    assert tries.pause_s("9") == 9.0
    now[0] = 4.0
    assert (tries.left_s(), tries.pause_s("6")) == (6.0, None)
    now[0] = 11.0
    assert (tries.left_s(), tries.pause_s()) == (0.0, None)


@pytest.mark.parametrize(
    "wrong", [{"deadline_s": 0}, {"max_tries": 0}, {"first_pause_s": -1}], ids=str
)
def test_patience_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Patience(**wrong)
