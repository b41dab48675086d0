"""Tests for recall/living_items.py: the items of a lake that meet a filter, vector or not."""

import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from catalog.lake.item_lookup import ItemLookup
from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS
from recall.filters import Filter
from recall.living_items import LivingItems
from tests.recall.filter_cases import CASES, DAY, filters, meets

IDS = [item["item_id"] for item in CASES]


@pytest.fixture(scope="module")
def living(tmp_path_factory):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    rows = [
        dict.fromkeys(ITEMS.columns)
        | item
        | {"attributes": json.dumps(item["attributes"]), "content_hash": item["item_id"]}
        | {"updated_at": DAY, "deleted": False}
        for item in [*CASES, {**CASES[0], "item_id": "gone"}]
    ]
    frame = pl.DataFrame(rows, schema=ITEMS.schema)
    lake.upsert_items(frame.with_columns(deleted=pl.col("item_id") == "gone"))
    return LivingItems(ItemLookup(lake))


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(filters)
def test_any_filter_lets_pass_what_its_conditions_say(living, condition):
    found = living.that_meet(condition, [*IDS, "gone", "unknown"])
    assert found == {item["item_id"] for item in CASES if meets(item, condition, is_true_one=False)}


def test_without_conditions_all_that_are_not_deleted_pass(living):
    assert living.that_meet(Filter(), ["gone", *IDS[:2], "unknown"]) == set(IDS[:2])
