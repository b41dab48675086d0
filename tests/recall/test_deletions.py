"""Tests for recall/deletions.py: an index that forgot deletions, and a lake that did not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.maintenance import compact
from catalog.lake.tables import ITEMS
from recall import deletions
from recall.collection import IndexConfig
from recall.deletions import WithoutDeleted
from recall.filters import Filter
from recall.index import ItemIndex

QUERY_QD = np.array([[1, 0], [0, 1]], dtype=np.float32)
IDS = ("a", "b", "c", "d")


def land(lake, hour, **deleted):
    """Write items by id, each deleted or not."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    common = dict.fromkeys(ITEMS.columns) | {"tags": [], "attributes": "{}", "content_hash": "h"}
    common |= {"created_at": at, "updated_at": at}
    rows = [common | {"item_id": i, "deleted": gone} for i, gone in deleted.items()]
    lake.upsert_items(pl.DataFrame(rows, schema=ITEMS.schema))


@pytest.fixture
def lake(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    land(lake, 0, **dict.fromkeys(IDS, False))
    return lake


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory, rows):
    """An index that holds all items still."""
    uri = str(tmp_path_factory.mktemp("forgetful") / "x.db")
    with ItemIndex.open(IndexConfig(uri=uri)) as index:
        index.sync("v1", rows(a=[1, 0], b=[1, 0.1], c=[1, 0.2], d=[0, 1]), dim=2)
        yield index


@pytest.fixture
def index(forgetful, lake):
    index = WithoutDeleted(forgetful, lake)
    index.refresh()
    return index


def found(index, limit=2, **options):
    ranked = index.search(QUERY_QD, "v1", limit=limit, **options)
    ranks = ranked["recall_rank"].to_list()
    lists = [part["item_id"].to_list() for part in ranked.partition_by("query_index")]
    assert ranks == [rank for part in lists for rank in range(1, len(part) + 1)]
    return lists


def test_what_the_lake_deleted_is_not_found_and_the_next_best_is(index, lake):
    assert found(index) == [["a", "b"], ["d", "c"]]
    land(lake, 1, a=True, d=True)
    assert index.refresh() is True
    assert found(index) == [["b", "c"], ["c", "b"]]
    assert sorted(index.vectors(IDS, "v1")) == ["b", "c"]
    assert index.count("v1") == 4  # of the index, for whoever compares the two


def test_a_service_that_starts_later_knows_the_deletions_of_before(forgetful, lake):
    land(lake, 1, a=True)
    index = WithoutDeleted(forgetful, lake)
    index.refresh()
    assert found(index)[0] == ["b", "c"]


def test_what_comes_back_is_found_again_and_a_compaction_changes_nothing(index, lake):
    land(lake, 1, a=True, b=True)
    index.refresh()
    compact(lake)
    index.refresh()
    assert found(index)[0] == ["c", "d"]
    land(lake, 2, a=False)
    index.refresh()
    assert found(index)[0] == ["a", "c"]


def test_what_this_process_deletes_and_puts_needs_no_refresh(forgetful, lake, rows, monkeypatch):
    monkeypatch.setattr(forgetful, "discard", lambda item_ids: None)
    monkeypatch.setattr(forgetful, "put", lambda version, rows: None)
    index = WithoutDeleted(forgetful, lake)
    index.discard(["a"])
    assert found(index)[0] == ["b", "c"]
    index.put("v1", rows(a=[1, 0]))
    assert found(index)[0] == ["a", "b"]


def test_where_a_filter_names_as_many_ids_as_it_may_fewer_are_found(index, lake, monkeypatch):
    land(lake, 1, a=True)
    index.refresh()
    monkeypatch.setattr(deletions, "MAX_IDS", 1)
    assert found(index, filter=Filter(exclude_ids=("b",))) == [["c"], ["d", "c"]]


def test_of_too_many_deletions_the_newest_are_known(forgetful, lake, monkeypatch):
    monkeypatch.setattr(deletions, "MAX_DELETIONS", 1)
    land(lake, 1, a=True)
    land(lake, 2, b=True)
    index = WithoutDeleted(forgetful, lake)
    index.refresh()
    assert found(index)[0] == ["a", "c"]
    land(lake, 3, c=True)
    index.refresh()
    assert found(index)[0] == ["a", "b"]
