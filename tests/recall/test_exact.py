"""Tests for recall/exact.py and what it is made of: files of a lake's vectors, searched exactly."""

import json
import threading
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from catalog.lake.item_codes import put_codebooks_in_use, put_codes
from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, ITEMS
from recall.blocks import BlockFolder
from recall.errors import NotFound, OtherDim, Unavailable
from recall.exact import ExactIndex
from recall.filters import Filter
from recall.lake_vectors import LakeVectors
from tests.recall.exact_lake import DAY, QUERY, brute_force, embed, land, opened, ranked
from tests.recall.filter_cases import CASES, CODES, index_filters, meets


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def test_the_best_come_first_and_ties_in_order_of_id(lake, tmp_path):
    land(lake, d=[0, 2], c=[0.6, 0.8], b=[3, 0], a=[1, 0], e=[-1, 0])
    index = opened(lake, tmp_path)
    both = index.search(np.array([[2.0, 0.0], [0.0, 1.0]]), "v1", limit=4)
    assert both["query_index"].to_list() == [0] * 4 + [1] * 4
    assert both["item_id"].to_list() == ["a", "b", "c", "d", "d", "c", "a", "b"]
    assert both["recall_rank"].to_list() == [1, 2, 3, 4] * 2
    np.testing.assert_allclose(both["recall_score"], [1, 1, 0.6, 0, 1, 0.8, 0, 0], atol=1e-6)


def test_what_happens_to_an_item_is_followed(lake, tmp_path):
    land(lake, a=[1, 0], b=[0, 1])
    index = opened(lake, tmp_path)
    assert ranked(index.search(QUERY, "v1", limit=9)) == [("a", 1), ("b", 0)]
    assert not index.refresh()

    land(lake, at=1, c=[0.6, 0.8])
    land(lake, at=1, deleted=True, b=None)
    assert index.refresh()
    assert ranked(index.search(QUERY, "v1", limit=9)) == [("a", 1), ("c", 0.6)]

    land(lake, at=2, content="edited", a=None)  # its vector stays until the new one is there
    index.refresh()
    assert ranked(index.search(QUERY, "v1", limit=1)) == [("a", 1)]
    embed(lake, **{"edited-a": ("a", [0.8, 0.6])})
    index.refresh()
    assert ranked(index.search(QUERY, "v1", limit=1)) == [("a", 0.8)]

    land(lake, at=3, b=[0, 1])  # landed again
    index.refresh()
    assert index.count("v1") == 3
    assert set(index.vectors(["a", "b", "never"], "v1")) == {"a", "b"}


def test_changed_metadata_is_followed_without_a_new_vector(lake, tmp_path):
    land(lake, a=[1, 0], b=[0, 1])
    index = opened(lake, tmp_path)
    books = Filter(category_in=("books",))
    assert index.search(QUERY, "v1", limit=9, filter=books).is_empty()
    row = lake.read(ITEMS).filter(item_id="b").with_columns(category=pl.lit("books"))
    lake.upsert_items(row.with_columns(updated_at=pl.col("updated_at") + timedelta(1)))
    index.refresh()
    assert ranked(index.search(QUERY, "v1", limit=9, filter=books)) == [("b", 0)]


def test_a_request_sees_one_state_while_the_lake_moves_on(lake, tmp_path):
    land(lake, a=[1, 0])
    index = opened(lake, tmp_path)
    with index.request():
        assert index.count("v1") == 1
        land(lake, at=1, b=[0, 1])
        writer = threading.Thread(target=index.refresh)
        writer.start()
        writer.join()
        assert index.count("v1") == 1
    assert index.count("v1") == 2


def test_a_second_process_reads_what_the_first_has_written(lake, tmp_path):
    land(lake, a=[1, 0])
    first, second = opened(lake, tmp_path), opened(lake, tmp_path)
    first.count("v1")
    folder = BlockFolder(tmp_path / "vectors" / "vectors_v1")
    blocks = folder.state().blocks
    assert second.count("v1") == 1
    assert folder.state().blocks == blocks
    land(lake, at=1, b=[0, 1])
    first.refresh()
    assert second.count("v1") == 1
    assert second.refresh()
    assert second.count("v1") == 2


def test_who_finds_another_writer_at_work_leaves_it_alone(lake, tmp_path):
    land(lake, a=[1, 0])
    folder = BlockFolder(tmp_path / "vectors")
    with folder.writing(wait=False) as is_ours:
        assert is_ours
        assert not LakeVectors(lake, folder, "v1").refresh()
    assert LakeVectors(lake, folder, "v1").refresh()


def test_a_version_that_embedded_nothing_is_not_found(lake, tmp_path):
    land(lake, a=[1, 0])
    with pytest.raises(NotFound, match=r"version 'v2' has embedded nothing; .* holds \['v1'\]"):
        opened(lake, tmp_path).count("v2")


def test_a_version_whose_items_are_all_deleted_is_empty(lake, tmp_path):
    land(lake, a=[1, 0])
    index, only = opened(lake, tmp_path), Filter(tags_any=("x",), exclude_ids=("a",))
    assert index.count("v1") == 1
    land(lake, at=1, deleted=True, a=None)
    for each in (index, opened(lake, tmp_path), ExactIndex(lake, tmp_path / "new", lambda: "v1")):
        each.refresh()
        assert each.count("v1") == 0
        assert each.search(QUERY, "v1", limit=3, filter=only).is_empty()
        assert each.vectors(["a"], "v1") == {}


@pytest.mark.parametrize("limit", [0, 16_385])
def test_a_limit_out_of_range_is_refused(lake, tmp_path, limit):
    land(lake, a=[1, 0])
    with pytest.raises(ValueError, match="limit must be in"):
        opened(lake, tmp_path).search(QUERY, "v1", limit=limit)


def test_a_query_of_another_dim_is_refused(lake, tmp_path):
    land(lake, a=[1, 0])
    with pytest.raises(
        OtherDim, match="'v1' that are searched have dim 2, but its encoder gives d"
    ):
        opened(lake, tmp_path).search(np.ones((1, 3)), "v1", limit=1)


@pytest.mark.parametrize("longer", [[1, 0, 0], [1]])
def test_a_vector_of_another_dim_makes_no_block_and_leaves_what_is_searched(lake, tmp_path, longer):
    land(lake, a=[1, 0], b=[0, 1])
    index = opened(lake, tmp_path)
    assert index.search(QUERY, "v1", limit=2)["item_id"].to_list() == ["a", "b"]
    land(lake, c=longer)
    with pytest.raises(Unavailable, match="'v1' cannot be searched: 1 vectors do not have dim 2"):
        index.refresh()
    assert index.search(QUERY, "v1", limit=2)["item_id"].to_list() == ["a", "b"]
    with pytest.raises(Unavailable, match="do not have dim 2, first in row 0"):
        opened(lake, tmp_path).count("v1")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """3,000 items in five blocks, a tenth of them with a vector that others have too."""
    rng = np.random.default_rng(0)
    vectors_ND = rng.normal(size=(3_000, 8)).astype(np.float32)
    vectors_ND[rng.choice(3_000, 300)] = vectors_ND[:3].repeat(100, axis=0)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    folder = tmp_path_factory.mktemp("many")
    names = [f"i{n:04d}" for n in rng.permutation(3_000)]
    lake = Lake(str(folder / "lake"))
    land(lake, **dict(zip(names, vectors_ND.tolist(), strict=True)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("recall.lake_vectors.ROWS_AT_ONCE", 350)
        patched.setattr("recall.blocks.BLOCK_ROWS", 700)
        index = opened(lake, folder)
        assert len(index._snapshot("v1").state.blocks) == 5
    return index, names, vectors_ND


@pytest.mark.parametrize("num_queries", [1, 7])
@pytest.mark.parametrize("limit", [1, 10, 250, 4_000])
def test_search_equals_brute_force(many, monkeypatch, num_queries, limit):
    monkeypatch.setattr("recall.snapshot.MIN_CHUNK", 128)
    monkeypatch.setattr("recall.snapshot.CHUNK_SCORES", 512)
    index, names, vectors_ND = many
    queries = np.concatenate(
        [vectors_ND[:1], np.random.default_rng(1).normal(size=(num_queries, 8))]
    )[:num_queries]
    found = index.search(queries, "v1", limit=limit)
    for q, query_D in enumerate(queries):
        expected = brute_force(names, vectors_ND, query_D, limit=limit)
        assert found.filter(query_index=q)["item_id"].to_list() == expected


@pytest.mark.parametrize("num_allowed", [0, 5, 200, 2_000])
def test_a_filtered_search_equals_brute_force(many, num_allowed):
    index, names, vectors_ND = many
    query = np.random.default_rng(2).normal(size=(1, 8))
    only = Filter(include_ids=tuple(names[:num_allowed]), exclude_ids=(names[1], "unknown"))
    found = index.search(query, "v1", limit=50, filter=only)
    allowed = {*names[:num_allowed]} - {names[1]}
    expected = brute_force(names, vectors_ND, query[0], limit=50, allowed=allowed)
    assert found["item_id"].to_list() == expected


def test_a_score_does_not_depend_on_its_batch(many):
    index, _, _ = many
    queries = np.random.default_rng(3).normal(size=(32, 8))
    together = index.search(queries, "v1", limit=20)
    for q in (0, 13, 31):
        alone = index.search(queries[q : q + 1], "v1", limit=20).drop("query_index")
        assert together.filter(query_index=q).drop("query_index").equals(alone)


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filtered")
    lake = Lake(str(folder / "lake"))
    columns = ("item_id", "category", "tags", "created_at")
    told = [
        {name: case[name] for name in columns} | {"attributes": json.dumps(case["attributes"])}
        for case in CASES
    ]
    rest = {"updated_at": DAY, "deleted": False, "content_hash": "c"}
    lake.upsert_items(pl.DataFrame([case | rest for case in told], schema=ITEMS.schema))
    ids = [case["item_id"] for case in CASES]
    embedded = pl.DataFrame({"item_id": ids, "vector": [[1.0, 0.0]] * len(ids)})
    described = embedded.with_columns(content_hash=pl.lit("c"), model_version=pl.lit("v1"))
    lake.insert_new(EMBEDDINGS, pl.DataFrame(described.to_dicts(), schema=EMBEDDINGS.schema))
    give_codes(lake, CODES)
    return opened(lake, folder)


def give_codes(lake, told, codes_id="one"):
    """Put codebooks in use, and what they gave to contents "c" of items."""
    codes = [[int(code) for code in text.split("-")[:-1]] for text in told.values()]
    rows = pl.DataFrame({"item_id": list(told), "content_hash": "c", "codes": codes})
    put_codes(lake, rows.filter(pl.col("codes").list.len() > 0), version="v1", codes_id=codes_id)
    put_codebooks_in_use(lake, "v1", codes_id, config="{}", measured="{}", at=DAY)


def test_codes_are_followed_as_are_others_that_are_put_in_use(lake, tmp_path):
    told = {"updated_at": DAY, "deleted": False, "content_hash": "c", "created_at": DAY}
    items = [{"item_id": i, "tags": [], "attributes": "{}"} | told for i in "ab"]
    lake.upsert_items(pl.DataFrame(items, schema=ITEMS.schema))
    embedded = [
        {"item_id": i, "content_hash": "c", "model_version": "v1", "vector": vector}
        for i, vector in (("a", [1.0, 0.0]), ("b", [0.0, 1.0]))
    ]
    lake.insert_new(EMBEDDINGS, pl.DataFrame(embedded, schema=EMBEDDINGS.schema))
    index = opened(lake, tmp_path)

    def under(prefix):
        index.refresh()
        asked = Filter(code_prefixes=(prefix,))
        found = sorted(index.search(QUERY, "v1", limit=9, filter=asked)["item_id"])
        assert sorted(index.vectors(["a", "b"], "v1", filter=asked)) == found
        return found

    assert under("1") == []
    give_codes(lake, {"a": "1-2-", "b": "1-3-"})
    assert (under("1"), under("1-3")) == (["a", "b"], ["b"])
    give_codes(lake, {"a": "9-", "b": "8-"}, codes_id="two")
    assert (under("1"), under("9")) == ([], ["a"])


@settings(deadline=None, max_examples=200)
@given(index_filters)
def test_any_filter_finds_what_its_conditions_say(filtered, condition):
    found = filtered.search(QUERY, "v1", limit=100, filter=condition)
    expected = {case["item_id"] for case in CASES if meets(case, condition, is_true_one=False)}
    assert set(found["item_id"]) == expected
