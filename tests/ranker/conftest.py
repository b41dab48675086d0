"""A small world in which a hidden taste decides what is clicked."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS, TIME
from features.pages import pages_of
from features.table import build_features

START = datetime(2026, 3, 1, tzinfo=UTC)
NUM_ITEMS, NUM_USERS, DIM = 150, 30, 8


@pytest.fixture(scope="session")
def preference_world():
    """400 requests of 10 items; the two nearest to the user's taste vector are clicked."""
    rng = np.random.default_rng(0)
    item_vectors, preferences = rng.normal(size=(NUM_ITEMS, DIM)), rng.normal(size=(NUM_USERS, DIM))
    rows = []
    for r in range(400):
        user, shown = int(rng.integers(NUM_USERS)), rng.choice(NUM_ITEMS, 10, replace=False)
        ts = START + timedelta(hours=r)
        liked = set(np.argsort(-(item_vectors[shown] @ preferences[user]))[:2].tolist())
        for place, item in enumerate(shown):
            row = {"request_id": f"r{r}", "user_id": f"u{user}", "item_id": f"i{item}", "ts": ts}
            rows.append(row | {"action": "impression"})
            if place in liked:
                rows.append(row | {"action": "click", "ts": ts + timedelta(minutes=1)})
    events = pl.DataFrame(
        [row | {"event_id": str(i)} for i, row in enumerate(rows)], schema=EVENTS.schema
    )
    ids = [f"i{k}" for k in range(NUM_ITEMS)]
    items = pl.DataFrame(
        {
            "item_id": ids,
            "category": "x",
            "created_at": [START + timedelta(hours=2 * k) for k in range(NUM_ITEMS)],
        },
        schema_overrides={"created_at": TIME},
    )
    embeddings = pl.DataFrame(
        {
            "item_id": ids,
            "vector": pl.Series(item_vectors.tolist(), dtype=pl.List(pl.Float32)),
            "model_version": "v1",
        }
    )
    return events, items, embeddings


@pytest.fixture(scope="session")
def preference_table(preference_world):
    """The features of its requests."""
    events, items, embeddings = preference_world
    pages = pages_of(events)
    return build_features(pages.impressions, pages.events, items, embeddings)
