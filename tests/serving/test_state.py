"""Tests for serving/state.py, on a lake written by hand."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.index_versions import IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.maintenance import compact
from catalog.lake.tables import EMBEDDINGS, ITEMS
from serving.state import State
from tests.serving.shop import START, embedding, item, write_shop


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("lake"))


def test_a_version_has_embedded_what_it_holds_of_present_contents_alone(lake):
    live, other = State(lake, lambda: "v1").read().versions
    assert (live.version, live.is_live, live.num_items, live.num_waiting) == ("v1", True, 2, 1)
    assert (live.reasoned_share, live.mean_gate_probability) == (0.5, 0.5)
    assert (other.version, other.is_live, other.num_items, other.num_waiting) == ("v2", False, 1, 2)


def test_a_version_tells_what_the_lake_knows_of_its_index(tmp_path):
    lake = write_shop(tmp_path)
    index = IndexVersions(lake)
    index.switch_to("v2")
    index.switch_to("v1")
    measured = {"recall@10": 0.5, "problems": ["too few"], "centroid_D": [0.1] * 128, "digest": "d"}
    index.record("v1", state="validated", validation=json.dumps(measured), validated_at=START)
    v1, v2 = State(lake, index.live).read().versions
    assert (v1.version, v1.is_live, v1.is_previous, v1.state) == ("v1", True, False, "validated")
    assert (v1.validation, v1.validated_at) == ({"recall@10": 0.5}, START)
    assert (v1.problems, v2.problems) == (["too few"], [])
    assert v1.live_at is not None
    assert (v2.version, v2.is_live, v2.is_previous, v2.validation) == ("v2", False, True, {})


def test_a_version_without_an_index_has_no_state_of_it(lake):
    version = State(lake, lambda: None).read().versions[0]
    assert (version.state, version.live_at, version.validation) == (None, None, {})


def test_recent_is_the_week_up_to_the_newest_item(tmp_path):
    lake = write_shop(tmp_path)
    rows = [item("old", -6), item("new", 1.5)]  # days; the newest item is of day 3
    lake.upsert_items(pl.DataFrame(rows, schema=ITEMS.schema))
    embedded = [embedding("old", "v1", "direct", 0.9), embedding("new", "v1", "direct", 0.5)]
    lake.insert_new(EMBEDDINGS, pl.DataFrame(embedded, schema=EMBEDDINGS.schema))
    v1, v2 = State(lake, lambda: "v1").read().versions
    # Of v1 rose (.25), leaf (.75) and new (.5) are recent; old (.9) is not.
    assert (v1.num_items, v1.num_recent) == (4, 3)
    assert v1.mean_gate_probability == pytest.approx((0.25 + 0.75 + 0.5 + 0.9) / 4)
    assert v1.recent_gate_probability == pytest.approx(0.5)
    assert (v2.num_recent, v2.recent_gate_probability) == (1, 1.0)


def test_freshness_is_that_of_the_newest_living_item_and_event(lake):
    state = State(lake, lambda: None).read()
    assert (state.live, state.num_items) == (None, 3)
    assert state.newest_item_at == START + timedelta(days=3)
    assert state.newest_event_at == START + timedelta(hours=5)


def test_a_table_changes_when_rows_are_written_and_not_when_files_are_merged(tmp_path):
    lake = write_shop(tmp_path)
    before = State(lake, lambda: None).read().tables
    assert {table.name: table.num_rows for table in before} == {
        "items": 4,
        "events": 5,
        "embeddings": 5,
        "rationales": 0,
        "dead_letters": 0,
    }
    assert [table.changed_at is None for table in before] == [False, False, False, True, True]
    lake.upsert_items(pl.DataFrame([item("moss", 5)], schema=ITEMS.schema))  # a second file
    before = State(lake, lambda: None).read().tables
    assert compact(lake)["items"].removed == 2
    assert State(lake, lambda: None).read().tables == before


def test_a_state_says_when_it_was_read(lake):
    at = datetime(2026, 2, 3, tzinfo=UTC)
    assert State(lake, lambda: None, now=lambda: at).read().read_at == at


def test_an_empty_lake_has_a_state(tmp_path):
    state = State(Lake(str(tmp_path)), lambda: None).read()
    assert (state.num_items, state.newest_item_at, state.versions) == (0, None, [])
