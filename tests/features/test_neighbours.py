"""Tests for features/neighbours.py, against the cosines that they sum up."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS
from features import neighbours
from features.cooccurrence import cooccurrence
from features.daily_sums import days_of
from features.neighbours import Neighbours, NeighboursNow

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


@pytest.fixture(params=[1 << 18, 7], autouse=True, ids=["at once", "in parts"])
def _parts(request, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_PAIRS", request.param)


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


def test_the_nearest_come_by_the_sum_of_cosines_each_with_what_adds_most(counts):
    now = START + timedelta(days=20)
    day = int(days_of(pl.Series([now]))[0])
    history, ids = ["i03", "unknown", "i07", "i11"], counts.item_ids.to_list()
    part_of = {item_id: [0.0] * len(history) for item_id in ids}
    for place, liked in enumerate(history):
        for item_id in ids:
            if liked in ids and item_id != liked:
                pair = (np.array([ids.index(liked)]), np.array([ids.index(item_id)]))
                part_of[item_id][place] = 0.9**place * counts.cosines(*pair, np.array([day]))[0]
    scores = {item_id: sum(parts) for item_id, parts in part_of.items()}
    assert len(set(scores.values())) == len(ids)  # so that rounding decides no order below
    at_now = NeighboursNow.at(Neighbours.of(counts), now)
    found = at_now.nearest(history)
    assert found == sorted((i for i in ids if scores[i]), key=lambda i: (-scores[i], i))
    because = [history[int(np.argmax(part_of[item_id]))] for item_id in found]
    assert at_now.because(history, found) == because
    assert set(because) > {"i03"}
    assert at_now.because(history, ["unknown"]) == [None]


def test_equal_neighbours_come_in_order_of_their_ids_and_those_of_today_not_yet():
    rows = [
        {"event_id": item_id, "user_id": "u", "item_id": item_id, "action": "like", "ts": START}
        for item_id in ("b", "c", "a")
    ]
    arranged = Neighbours.of(cooccurrence(pl.DataFrame(rows, schema=EVENTS.schema)))
    assert NeighboursNow.at(arranged, START + timedelta(days=1)).nearest(["b"]) == ["a", "c"]
    assert NeighboursNow.at(arranged, START + timedelta(hours=1)).nearest(["b"]) == []
