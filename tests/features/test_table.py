"""Tests for features/table.py: what of a history its similarities compare."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.tables import EVENTS, ITEMS
from features.table import build_features

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VECTORS = pl.DataFrame(
    {"item_id": ["old", "near", "far"], "vector": [[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]]},
    schema_overrides={"vector": pl.List(pl.Float32)},
).with_columns(model_version=pl.lit("v"))


def likes(*items):
    """A like an hour, the last one an hour before noon."""
    rows = [
        {"event_id": str(n), "user_id": "u", "item_id": item, "action": "like"}
        | {"ts": NOON - timedelta(hours=len(items) - n)}
        for n, item in enumerate(items)
    ]
    return pl.DataFrame(rows, schema_overrides=EVENTS.schema)


def features(*liked):
    asked = pl.DataFrame(
        {"request_id": "r", "user_id": "u", "item_id": ["near", "far", "gone3"], "ts": NOON},
        schema_overrides={"ts": EVENTS.schema["ts"]},
    )
    return build_features(asked, likes(*liked), ITEMS.empty(), VECTORS).frame


@pytest.mark.parametrize("num_gone", [0, 1, 49, 50, 60])
def test_items_that_are_gone_take_no_place_from_those_compared(num_gone):
    frame = features("old", *(f"gone{n}" for n in range(num_gone)))
    alone = features("old")
    for name in ("match_max", "match_last", "match_mean"):
        assert frame[name].to_list() == alone[name].to_list()
    assert frame["match_max"].null_count() == 1  # the candidate that is gone


def test_history_size_and_repeats_tell_of_what_was_liked_with_or_without_a_vector():
    frame = features("old", "gone3", "gone4")
    assert frame["history_size"].to_list() == [3, 3, 2]  # the last is its own
    assert frame["is_repeat"].to_list() == [False, False, True]
