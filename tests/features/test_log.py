"""Tests for features/log.py."""

import polars as pl
import pytest

from catalog.lake.tables import EVENTS, ITEMS
from features.log import Log


@pytest.fixture
def log():
    items = pl.DataFrame(
        {
            "item_id": ["plain", "deleted", "no image", "not embedded"],
            "deleted": [False, True, False, False],
            "image_hash": ["h", "h", None, "h"],
        }
    ).join(ITEMS.empty().drop("deleted", "image_hash"), on="item_id", how="left")
    vectors = pl.DataFrame({"item_id": ["plain", "deleted", "no image", "never landed"]})
    return Log(EVENTS.empty(), items, vectors)


def test_candidates_are_living_with_vector_and_image_or_without(log):
    assert log.candidates.to_list() == ["plain", "no image", "not embedded"]
