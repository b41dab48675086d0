"""Tests for ranker/floors.py, by counting."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS, ITEMS
from features.log import Log
from ranker.floors import FLOORS, floor_ranks
from ranker.rating_log import RatingLog, RatingRules

START = datetime(2026, 1, 1, tzinfo=UTC)
NUM_ITEMS = 12


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(4)
    rows = [
        {"event_id": f"{user}-{k}", "user_id": f"u{user}", "item_id": f"i{n:02d}"}
        | {"action": "rating", "value": 5.0, "ts": START + timedelta(hours=int(rng.integers(60)))}
        for user in range(9)
        for k, n in enumerate(rng.choice(NUM_ITEMS, 5, replace=False))
    ]
    ids = [f"i{n:02d}" for n in range(NUM_ITEMS)]
    items = [
        {"item_id": i, "category": "c", "created_at": START, "updated_at": START}
        | {"deleted": False, "content_hash": "x"}
        for i in ids
    ]
    vectors = {"item_id": ids, "vector": [[1.0, 0.0]] * NUM_ITEMS, "model_version": "v"}
    return Log(
        pl.DataFrame(rows, schema=EVENTS.schema),
        pl.DataFrame(items, schema=ITEMS.schema),
        pl.DataFrame(vectors, schema_overrides={"vector": pl.List(pl.Float32)}),
    )


def slow_rank(rated, user, answer, moment, decay, ids):
    rows = rated.events.sort("ts", "item_id").select("user_id", "item_id", "ts").rows()
    known = [r for r in rows if rated.rules.known == "all" or r[2] < moment]
    users = {i: {u for u, item, _ in known if item == i} for i in ids}
    history = [item for u, item, _ in known if u == user][::-1]
    seen = {item for u, item, _ in rows if u == user}

    def score(item):
        if decay is None:
            return float(len(users[item]))
        both = [
            len(users[item] & users[h]) / np.sqrt(len(users[item]) * len(users[h]) or 1)
            for h in history
        ]
        return sum(decay**place * value for place, value in enumerate(both))

    free = [i for i in ids if i not in seen]
    ordered = sorted(free, key=lambda i: (-round(score(i), 9), i))
    return 1 + ordered.index(answer)


@pytest.mark.parametrize("known", ["as_of", "all"])
def test_floors_rank_as_counting_by_hand_does(log, known):
    rated = RatingLog(log, RatingRules(known=known))
    ids = log.items["item_id"].to_list()
    got = floor_ranks(rated)
    for name, decay in FLOORS.items():
        expected = [
            slow_rank(rated, *row, decay, ids)
            for row in rated.held_out.select("user_id", "item_id", "ts").iter_rows()
        ]
        assert got[name].tolist() == expected
