"""Tests for features/daily_sums.py, against sums taken one at a time."""

from collections import defaultdict

import numpy as np
import pytest

from features import daily_sums
from features.daily_sums import DAYS, running_sums

NOTHING = np.zeros(0, np.int64), np.zeros((2, 0), np.int64)


def part(rng, size, days):
    """Keys of some of 40 things in any order, several times, and what they grow by."""
    keys = rng.integers(40, size=size) * DAYS + rng.integers(*days, size=size)
    return keys, rng.integers(9, size=(2, size))


def slowly(parts):
    """Key by key, the sum of all of its thing up to its day."""
    grown = defaultdict(lambda: np.zeros(2, np.int64))
    for keys, amounts in parts:
        for key, amount in zip(keys.tolist(), amounts.T, strict=True):
            grown[key] += amount
    keys = sorted(grown)
    so_far = {
        key: sum(grown[k] for k in keys if k <= key and k // DAYS == key // DAYS) for key in keys
    }
    return keys, np.array([so_far[key] for key in keys]).reshape(-1, 2).T


@pytest.fixture(params=[4_096, 5], ids=["one range", "many ranges"])
def _ranges(request, monkeypatch):
    monkeypatch.setattr(daily_sums, "RANGE_KEYS", request.param)


@pytest.mark.usefixtures("_ranges")
def test_sums_of_parts_run_over_the_days_of_each_thing():
    rng = np.random.default_rng(0)
    parts = [part(rng, size, (1, 20)) for size in (60, 0, 300, 1, 1, 1, 40, 40)]
    keys, running = running_sums(parts, NOTHING)
    expected = slowly(parts)
    assert keys.tolist() == expected[0]
    assert (running == expected[1]).all()


@pytest.mark.usefixtures("_ranges")
@pytest.mark.parametrize("size", [0, 3, 200])
def test_sums_that_grow_are_those_made_at_once(size):
    rng = np.random.default_rng(1)
    early, late = part(rng, 100, (1, 10)), part(rng, size, (9, 20))
    grown = running_sums([late], running_sums([early], NOTHING))
    whole = running_sums([early, late], NOTHING)
    for one, other in zip(grown, whole, strict=True):
        assert (one == other).all()
    assert len(grown[0]) == len(slowly([early, late])[0])
