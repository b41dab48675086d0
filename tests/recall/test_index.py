"""Tests for recall/index.py, on Milvus Lite."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from catalog.lake.living_parts import IdRange, LivingPart
from recall.collection import IndexConfig
from recall.errors import NotFound, OtherDim
from recall.filters import Filter
from recall.index import ItemIndex, SyncReport
from recall.vector_search import RANKED

QUERY = np.array([[1.0, 0.0]], dtype=np.float32)


def ranked(frame):
    return frame.select("item_id", "recall_rank").rows()


def report(upserted=0, deleted=0, unchanged=0):
    return SyncReport(upserted=upserted, deleted=deleted, unchanged=unchanged)


def test_sync_writes_only_what_changed_and_removes_what_is_gone(index, rows):
    first = rows(a=[1, 0], b=[0, 1], c=[0, 1])
    assert index.sync("sync", first, dim=2) == report(upserted=3)
    assert index.sync("sync", first, dim=2) == report(unchanged=3)
    second = rows(a=[1, 0], b=[-1, 0], d=[0, 1]).with_columns(
        content_hash=pl.when(pl.col("item_id") == "b").then(pl.lit("new")).otherwise("content_hash")
    )
    # d takes c's place and with it its created_at; a is as it was.
    assert index.sync("sync", second, dim=2) == report(upserted=2, deleted=1, unchanged=1)
    present = index.keys("sync").sort("item_id")
    assert present["item_id"].to_list() == ["a", "b", "d"]
    assert present["content_hash"].to_list() == ["hash-a", "new", "hash-d"]
    np.testing.assert_array_equal(index.vectors(["b"], "sync")["b"], [-1, 0])
    assert index.count("sync") == 3


def test_sync_notices_metadata_that_changed_without_the_content(index, rows):
    frame = rows(a=[1, 0], b=[0, 1])
    index.sync("meta", frame, dim=2)
    moved = frame.with_columns(category=pl.Series(["books", None]))
    assert index.sync("meta", moved, dim=2) == report(upserted=1, unchanged=1)
    assert index.count("meta", filter=Filter(category_in=("books",))) == 1


def test_an_empty_sync_does_not_wipe_the_collection(index, rows):
    index.sync("kept", rows(a=[1, 0]), dim=2)
    with pytest.raises(ValueError, match="must not be empty"):
        index.sync("kept", rows(a=[1, 0]).clear(), dim=2)
    assert index.count("kept") == 1


def test_vectors_of_another_dim_are_refused_for_an_existing_version(index, rows):
    index.sync("dim", rows(a=[1, 0]), dim=2)
    with pytest.raises(ValueError, match="has dim 2 but the embedder gives 3"):
        index.sync("dim", rows(a=[1, 0, 0]), dim=3)
    with pytest.raises(OtherDim, match=r"have dim 2, but its encoder gives dim 3; register"):
        index.search(np.ones((1, 3)), "dim", limit=1)
    with pytest.raises(OtherDim, match="have dim 2, but its encoder gives dim 3"):
        index.put("dim", rows(b=[1, 0, 0]))
    assert index.count("dim") == 1
    with pytest.raises(ValueError, match="finite and not zero"):
        index.search(np.zeros((1, 2)), "dim", limit=1)


def test_an_unknown_version_is_named(index):
    with pytest.raises(NotFound, match="version 'nobody' must have a collection"):
        index.search(QUERY, "nobody", limit=1)


def test_search_ranks_by_cosine_with_ties_in_order_of_id(index, rows):
    index.sync("rank", rows(d=[0, 2], c=[0.6, 0.8], b=[3, 0], a=[1, 0], e=[-1, 0]), dim=2)
    expected = pl.DataFrame(
        {
            "query_index": [0] * 5 + [1] * 5,
            "item_id": ["a", "b", "c", "d", "e", "d", "c", "a", "b", "e"],
            "recall_score": [1.0, 1.0, 0.6, 0.0, -1.0, 1.0, 0.8, 0.0, 0.0, 0.0],
            "recall_rank": [1, 2, 3, 4, 5] * 2,
        },
        schema=RANKED,
    )
    both = np.array([[2.0, 0.0], [0.0, 1.0]])
    assert_frame_equal(index.search(both, "rank", limit=10), expected)
    cut = index.search(both, "rank", limit=1)
    assert cut["item_id"].to_list() == ["a", "d"]


def test_a_tie_at_the_limit_is_settled_by_id(index, rows):
    index.sync("tie", rows(**{item_id: [1, 0] for item_id in "jihgfedcba"}), dim=2)
    assert ranked(index.search(QUERY, "tie", limit=2)) == [("a", 1), ("b", 2)]


def test_search_agrees_with_brute_force(index, rows):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    names = [f"i{n:03d}" for n in range(300)]
    index.sync("brute", rows(**dict(zip(names, vectors.tolist(), strict=True))), dim=8)
    queries = vectors[:5] + 0.1
    cosine = (queries @ vectors.T) / (
        np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    )
    found = index.search(queries, "brute", limit=300)
    for q in range(5):
        one = found.filter(pl.col("query_index") == q)
        assert one["item_id"].to_list() == [names[n] for n in np.argsort(-cosine[q])]
        np.testing.assert_allclose(one["recall_score"], np.sort(cosine[q])[::-1], atol=2e-6)


class BlindIndex(ItemIndex):
    """An index whose approximate search finds nothing, as HNSW may under a selective filter."""

    def _approximate(self, query_vectors_QD, version, *, limit, expression):
        return [[] for _ in query_vectors_QD]


def test_a_search_that_finds_too_few_is_answered_exactly(tmp_path, index, rows):
    frame = rows(a=[1, 0], b=[6, 8], c=[0.8, 0.6], d=[0, 1])
    frame = frame.with_columns(category=pl.Series(["x", "y", "y", "y"]))
    index.sync("blind", frame, dim=2)
    blind = BlindIndex.open(IndexConfig(uri=str(tmp_path / "blind.db"), page_rows=2))
    blind.sync("blind", frame, dim=2)
    only = Filter(category_in=("y",))
    for limit in (2, 3, 10):
        assert_frame_equal(
            blind.search(QUERY, "blind", limit=limit, filter=only),
            index.search(QUERY, "blind", limit=limit, filter=only),
        )
    assert ranked(blind.search(QUERY, "blind", limit=2, filter=only)) == [
        ("c", 1),
        ("b", 2),
    ]
    nothing = Filter(category_in=("z",))
    assert blind.search(QUERY, "blind", limit=2, filter=nothing).is_empty()
    blind.close()


def test_what_was_synced_is_there_after_reopening(tmp_path, rows):
    config = IndexConfig(uri=str(tmp_path / "x.db"))
    with ItemIndex.open(config) as opened:
        opened.sync("v-1.0", rows(a=[1, 0], b=[0, 1]), dim=2)
        opened.promote("v-1.0")
    with ItemIndex.open(config) as opened:
        assert opened.versions() == ["v-1.0"]
        assert opened.live_version() == "v-1.0"
        assert opened.dim("v-1.0") == 2
        assert ranked(opened.search(QUERY, "v-1.0", limit=1)) == [("a", 1)]


def test_no_id_can_break_out_of_an_expression(tmp_path, rows):
    names = ["a'b", 'c"d', "e\\", "\\'", '"] or item_id != "', "ü🦆", "plain", "z%_"]
    config = IndexConfig(uri=str(tmp_path / "x.db"), page_rows=2)  # every page starts after an id
    with ItemIndex.open(config) as opened:
        opened.sync("v", rows(**{name: [1, n] for n, name in enumerate(names)}), dim=2)
        assert opened.keys("v")["item_id"].to_list() == sorted(names)
        found = opened.vectors([*names[:5], "unknown"], "v")
        assert {name: vector[1] for name, vector in found.items()} == dict(
            zip(names[:5], range(5), strict=True)
        )
        kept = rows(**{name: [1, n] for n, name in enumerate(names[:1])})
        assert opened.sync("v", kept, dim=2) == report(deleted=7, unchanged=1)
        assert opened.keys("v")["item_id"].to_list() == ["a'b"]


def test_parts_of_a_catalogue_are_synced_as_the_whole(index, rows):
    names = [f"i{n:02d}'" for n in range(20)]
    vectors = {name: [1, n] for n, name in enumerate(names)}
    index.sync("parts", rows(**vectors, zz=[1, 0]), dim=2)
    kept = rows(**vectors)[5:].with_columns(
        content_hash=pl.when(pl.col("item_id") == names[7])
        .then(pl.lit("new"))
        .otherwise("content_hash")
    )

    def parts():
        for begin, end in (("", names[6]), (names[6], "m"), ("m", None)):
            ids = IdRange(begin, end)
            is_before_end = pl.lit(True) if end is None else pl.col("item_id") < end
            inside = kept.filter(pl.col("item_id") >= begin, is_before_end)
            yield LivingPart(ids, index.keys("parts", ids), inside)

    assert index.sync_parts("parts", parts(), dim=2, num_items=15) == report(
        upserted=1, deleted=6, unchanged=14
    )
    assert index.keys("parts")["item_id"].to_list() == names[5:]
    assert index.keys("parts", IdRange(names[8], names[10]))["item_id"].to_list() == names[8:10]
    assert index.remove("parts", pl.Series([names[9], "unknown", names[10]])) == 2
    assert index.held("parts", pl.Series([*names[8:12], "zz"])).to_list() == [names[8], names[11]]
