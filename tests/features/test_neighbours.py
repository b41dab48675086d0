"""Tests for features/neighbours.py, against the cosines that they sum up."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS
from features.cooccurrence import cooccurrence, days_of
from features.neighbours import Neighbours

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    rows = [
        {
            "event_id": str(n),
            "user_id": f"u{rng.integers(12)}",
            "item_id": f"i{rng.integers(15):02d}",
        }
        | {"action": "like", "ts": START + timedelta(hours=int(rng.integers(240)))}
        for n in range(150)
    ]
    return cooccurrence(pl.DataFrame(rows, schema=EVENTS.schema))


@pytest.mark.parametrize("days", [0, 1, 4, 11])
def test_scores_sum_the_decayed_cosines_before_the_day(counts, days):
    day = int(days_of(pl.Series([START + timedelta(days=days)]))[0])
    history = np.array([3, -1, 7, 3, 11])
    num_items = len(counts.item_ids)
    expected = np.zeros(num_items)
    for place, item in enumerate(history):
        if item >= 0:
            others = np.array([n for n in range(num_items) if n != item])
            cosines = counts.cosines(np.full(len(others), item), others, np.full(len(others), day))
            expected[others] += 0.5**place * cosines
    got = Neighbours.of(counts).scores(history, day, decay=0.5)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert got.any() == (days > 1)


def test_nothing_liked_has_no_neighbours():
    nothing = Neighbours.of(cooccurrence(EVENTS.empty()))
    assert nothing.scores(np.array([-1]), 40_000, decay=0.9).tolist() == []
