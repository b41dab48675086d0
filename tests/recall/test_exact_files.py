"""Tests for the files that recall/exact.py searches: how many, in what order, and made anew."""

import json
from functools import partial

import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake

from catalog.lake.lake import Lake
from catalog.lake.living_parts import IdRange, living_parts
from catalog.lake.tables import EMBEDDINGS, ITEMS
from recall import blocks, lake_vectors
from recall.blocks import BlockFolder
from recall.exact import ExactIndex
from tests.recall.exact_lake import QUERY, brute_force, land, opened, ranked


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(params=["usual sizes", "tiny sizes"])
def sizes(request, monkeypatch):
    """Cut what is read and written as usual, or into so little that a few items are many."""
    if request.param == "tiny sizes":
        monkeypatch.setattr(lake_vectors, "FEW_ROWS", 3)  # more are read a range of ids at a time
        monkeypatch.setattr(lake_vectors, "ROWS_AT_ONCE", 3)
        monkeypatch.setattr(lake_vectors, "living_parts", partial(living_parts, part_rows=4))
        for module in (blocks, lake_vectors):
            monkeypatch.setattr(module, "BLOCK_ROWS", 10)


def vectors_files(tmp_path):
    return list((tmp_path / "vectors" / "vectors_v1").glob("*.vectors"))


def test_many_refreshes_leave_few_files_and_the_same_rows(lake, tmp_path, sizes):
    rng = np.random.default_rng(0)
    living: dict[str, np.ndarray] = {}
    index = None
    for night in range(14):
        new = {f"i{n}": rng.normal(size=2) for n in rng.integers(0, 40, size=5)}
        land(lake, at=night, content=f"n{night}", **new)
        gone = sorted(living)[:1]
        land(lake, at=night + 0.5, deleted=True, **dict.fromkeys(gone))
        living = {k: v for k, v in (living | new).items() if k not in gone}
        index = index or opened(lake, tmp_path)
        index.refresh()
        found = index.search(QUERY, "v1", limit=100)
        names, vectors = list(living), np.stack(list(living.values()))
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        assert found["item_id"].to_list() == brute_force(names, vectors, QUERY[0], limit=100)
        assert index.keys("v1")["item_id"].to_list() == sorted(living)
    assert len(vectors_files(tmp_path)) <= 8 + len(living) // 5
    anew = ExactIndex(lake, tmp_path / "new", lambda: "v1")
    assert vectors_of(opened(lake, tmp_path)) == vectors_of(anew)


def vectors_of(index):
    keys = index.keys("v1")
    vectors = index.vectors(keys["item_id"].to_list(), "v1")
    return keys.rows(), {item_id: vector.tolist() for item_id, vector in vectors.items()}


def test_a_block_holds_so_many_rows_and_they_are_in_order(lake, tmp_path, sizes):
    land(lake, **{f"i{n:02d}": [1, n] for n in np.random.default_rng(0).permutation(40)})
    assert opened(lake, tmp_path).count("v1") == 40
    opened_blocks = BlockFolder(tmp_path / "vectors" / "vectors_v1").open().blocks
    ids = [block.rows["item_id"].to_list() for block in opened_blocks]
    assert all(len(each) < 10 + 4 for each in ids) or len(ids) == 1
    assert [i for each in ids for i in each] == [f"i{n:02d}" for n in range(40)]


def test_files_of_an_earlier_layout_are_written_again(lake, tmp_path):
    land(lake, a=[1, 0])
    opened(lake, tmp_path).count("v1")
    current = tmp_path / "vectors" / "vectors_v1" / "current.json"
    told = json.loads(current.read_text())
    del told["layout"]
    current.write_text(json.dumps(told))
    assert ranked(opened(lake, tmp_path).search(QUERY, "v1", limit=9)) == [("a", 1)]
    assert len(vectors_files(tmp_path)) == 1


def test_keys_are_told_of_a_state_whose_files_are_gone(lake, tmp_path):
    land(lake, a=[1, 0], b=[0, 1])
    first, second = opened(lake, tmp_path), opened(lake, tmp_path)
    assert second.count("v1") == 2
    land(lake, at=1, deleted=True, a=None)
    first.count("v1")
    first.refresh()
    assert first.keys("v1")["item_id"].to_list() == ["b"]
    assert second.keys("v1")["content_hash"].to_list() == ["c-a", "c-b"]


def test_what_the_lake_holds_twice_is_found_once(lake, tmp_path):
    land(lake, a=[1, 0], b=[0, 1])
    for table in (ITEMS, EMBEDDINGS):
        rows = lake.read(table)
        write_deltalake(f"{lake.uri}/{table.name}", rows, mode="append")
    index = opened(lake, tmp_path)
    assert ranked(index.search(QUERY, "v1", limit=9)) == [("a", 1), ("b", 0)]
    assert index.keys("v1")["item_id"].to_list() == ["a", "b"]
    assert index.keys("v1", IdRange("aa", "c"))["item_id"].to_list() == ["b"]
    assert index.held("v1", pl.Series(["x", "b"])).to_list() == ["b"]
