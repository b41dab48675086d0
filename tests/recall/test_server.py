"""The index on a real Milvus server; see `tests/recall/milvus_server.py` for how it comes about.

It makes and drops collections whose names begin with `pondertest_`.
"""

import time
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from embedder.content import Content, Encoding
from recall.candidates import RecallOptions
from recall.collection import SCALAR_INDEXES, IndexConfig
from recall.filters import Filter, Range
from recall.index import ItemIndex
from recall.index_kinds import known_kinds
from recall.search import Recall
from recall.text_index import LexicalMatch
from tests.index_fixtures import KnownHistories
from tests.recall.test_validation import check

pytestmark = pytest.mark.integration


@pytest.fixture
def server(milvus_uri):
    with ItemIndex.open(IndexConfig(uri=milvus_uri, alias="pondertest", page_rows=50)) as index:
        _clean(index)
        yield index
        _clean(index)


def _clean(index):
    client = index._client
    if client.has_collection("pondertest"):
        client.drop_alias("pondertest")
    for name in client.list_collections():
        if name.startswith("pondertest_"):
            client.drop_collection(name)


def catalogue(num_items, seed=0):
    vectors_ND = np.random.default_rng(seed).normal(size=(num_items, 16))
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "item_id": [f"it'em\"{n:04d}" for n in range(num_items)],
            "vector": vectors_ND.astype(np.float32).tolist(),
            "content_hash": [f"h{n}" for n in range(num_items)],
            "category": [None if n % 10 == 0 else f"c{n % 3}" for n in range(num_items)],
            "tags": [["a"] if n % 2 else ["a", 'b"'] for n in range(num_items)],
            "attributes": [f'{{"price": {n}}}' for n in range(num_items)],
            "created_at": [datetime(2026, 1, 1, tzinfo=UTC)] * num_items,
            "codes": [f"{n % 7}-{n % 5}-" if n % 11 else "" for n in range(num_items)],
        },
        schema_overrides={"vector": pl.List(pl.Float32)},
    )


def test_a_version_lives_its_whole_life_on_a_server(server):
    rows = catalogue(230)
    assert server.sync("v1", rows, dim=16).upserted == 230
    assert server.sync("v1", rows, dim=16).unchanged == 230
    assert check(server, "v1", rows).problems == []
    server.promote("v1")

    edited = rows.head(200).with_columns(
        content_hash=pl.when(pl.col("item_id") == rows["item_id"][0])
        .then(pl.lit("new"))
        .otherwise("content_hash")
    )
    report = server.sync("v1", edited, dim=16)
    assert (report.upserted, report.deleted, report.unchanged) == (1, 30, 199)
    assert server.count("v1") == 200

    server.sync("v2", catalogue(50, seed=1), dim=16)
    server.promote("v2")
    assert server.live_version() == "v2"
    server.promote("v1")
    server.drop("v2")
    assert server.versions() == ["v1"]


def test_filtered_searches_on_a_server_equal_brute_force(server):
    rows = catalogue(230)
    server.sync("v1", rows, dim=16)
    query_D = np.asarray(rows["vector"][7].to_list())
    cosines = np.asarray(rows["vector"].to_list()) @ query_D
    scored = rows.with_columns(score=pl.Series(cosines)).sort("score", descending=True)
    cheap = Filter(category_in=("c1",), attributes={"price": Range(max=60)})
    expected = scored.filter(
        (pl.col("category") == "c1")
        & pl.col("attributes").str.json_path_match("$.price").cast(pl.Int64).le(60)
    )
    found = server.search(query_D[None], "v1", limit=5, filter=cheap)
    assert found["item_id"].to_list() == expected["item_id"].head(5).to_list()
    quoted = Filter(tags_all=("a", 'b"'), exclude_ids=(rows["item_id"][0],))
    found = server.search(query_D[None], "v1", limit=200, filter=quoted)
    assert set(found["item_id"]) == set(rows["item_id"][::2]) - {rows["item_id"][0]}
    coded = Filter(code_prefixes=("3", "5-1"))
    found = server.search(query_D[None], "v1", limit=200, filter=coded)
    begins = pl.col("codes").str.starts_with("3-") | pl.col("codes").str.starts_with("5-1-")
    assert set(found["item_id"]) == set(rows.filter(begins)["item_id"])


class Words:
    """Finds two items by any words, and two that are new."""

    def lexical(self, text, *, limit):
        return [LexicalMatch(item_id, 1.0) for item_id in ("it'em\"0003", "nowhere", "it'em\"0200")]

    def newest(self, limit):
        return ["it'em\"0005", "nowhere", "it'em\"0006"]

    def hints(self, names):
        return []


HISTORY = [f"it'em\"{n:04d}" for n in (9, 40, 77, 120, 180)]
CHEAP = Filter(attributes={"price": Range(max=150)})
ASKED = {
    "interests": lambda r: r.by_history(HISTORY, RecallOptions(top_k=30, max_interests=3)),
    "the mean": lambda r: r.by_history(HISTORY, RecallOptions(top_k=30, filter=CHEAP)),
    "no near-duplicates": lambda r: r.by_item(
        HISTORY[0], RecallOptions(top_k=30, max_similarity=0.5, mmr_lambda=0.7)
    ),
    "a cold user": lambda r: r.by_user("eve", RecallOptions(top_k=9, filter=CHEAP)),
    "words": lambda r: r.by_content(
        Content("red"), RecallOptions(top_k=30, hybrid=True, filter=CHEAP)
    ),
}


def test_a_server_answers_every_option_as_the_embedded_index_does(server, tmp_path):
    class Sixteen:
        def encode_query(self, queries, **options):
            return [Encoding(np.eye(16, dtype=np.float32)[0], "direct", 0.0)]

    rows, histories = catalogue(230), KnownHistories(popular=["it'em\"0200", "it'em\"0012"])
    with ItemIndex.open(IndexConfig(uri=str(tmp_path / "x.db"))) as embedded:
        for index in (server, embedded):
            index.sync("v1", rows, dim=16)
            index.promote("v1")
        one, other = (
            Recall(index, lambda version: Sixteen(), histories, catalogue=Words())
            for index in (server, embedded)
        )
        for name, ask in ASKED.items():
            found, expected = ask(one).frame, ask(other).frame
            assert len(found) > 1, name
            assert_frame_equal(found, expected, abs_tol=1e-5)


def test_items_that_are_put_and_discarded_are_found_and_no_longer(server):
    rows = catalogue(60)
    server.sync("v1", rows.head(50), dim=16)
    server.put("v1", rows.tail(10))
    wanted = rows["item_id"].tail(1).to_list()
    query_1D = np.asarray(rows["vector"].tail(1).to_list())

    def first():
        return server.search(query_1D, "v1", limit=1)["item_id"].to_list()

    comes_true(lambda: first() == wanted)
    server.discard(wanted)
    comes_true(lambda: first() != wanted)
    assert server.count("v1") == 59


def test_what_lies_near_a_crowd_is_found_and_all_of_the_crowd(server):
    """Beside it in one graph less is found; see `bench/crowds.py`."""
    rng, dim = np.random.default_rng(0), 32
    spread = 0.5 / np.sqrt(dim)
    near_ND = unit(rng.normal(size=(1, dim)) + rng.normal(size=(2_000, dim)) * spread)
    same_ND, far_ND = np.repeat(near_ND[:1], 5_000, axis=0), unit(rng.normal(size=(5_000, dim)))
    vectors_ND = rng.permutation(np.concatenate([near_ND, same_ND, far_ND])).astype(np.float32)
    rows = catalogue(len(vectors_ND)).with_columns(vector=pl.Series(vectors_ND.tolist()))
    server.sync("v1", rows, dim=dim)
    queries_QD = unit(near_ND[:100] + rng.normal(size=(100, dim)) * spread / 2)
    edge_Q = np.sort(queries_QD @ vectors_ND.T)[:, -10]
    found = server.search(queries_QD, "v1", limit=10)
    is_best = found["recall_score"].to_numpy() >= np.repeat(edge_Q, 10) - 1e-5
    assert is_best.mean() >= 0.98
    of_crowd = server.search(near_ND[:1], "v1", limit=300)["item_id"].to_list()
    best = np.lexsort((rows["item_id"].to_list(), -np.round(vectors_ND @ near_ND[0], 5)))
    assert of_crowd == rows["item_id"].gather(best[:300]).to_list()


def test_filters_have_indexes(server):
    name = server._ensure("v1", dim=16, num_items=1)
    kinds = {
        each["field_name"]: each["index_type"]
        for each in (
            server._client.describe_index(name, each) for each in server._client.list_indexes(name)
        )
    }
    assert kinds == {"vector": "HNSW", **SCALAR_INDEXES}


def unit(vectors_ND):
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


def comes_true(condition, *, within_s=10):
    """Wait for a server whose consistency is bounded."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["IVF_SQ8"])
def test_a_smaller_kind_finds_the_same_and_keeps_its_kind_under_other_settings(
    server, milvus_uri, kind
):
    rows, other = catalogue(3_000), IndexConfig(uri=milvus_uri, alias="pondertest", index_type=kind)
    with ItemIndex.open(other) as index:
        assert index.sync("v1", rows, dim=16).upserted == 3_000
        found = check(index, "v1", rows)
        assert found.problems == []
        assert min(found.recall.values()) > 0.95
    assert server.planned_kind(num_items=3_000, dim=16) == "HNSW"
    assert server.kind_of("v1") == f"milvus_{kind.lower()}"
    assert len(server.search(np.stack(rows["vector"].head(2).to_list()), "v1", limit=500)) == 1_000


def test_a_kind_that_the_server_lacks_leaves_no_collection(server, milvus_uri):
    config = IndexConfig(uri=milvus_uri, alias="pondertest", index_type="IVF_RABITQ")
    with ItemIndex.open(config) as index:
        if "IVF_RABITQ" in known_kinds(index._client.get_server_version()):
            pytest.skip("this server has it")
        with pytest.raises(ValueError, match=r"got 'IVF_RABITQ', from 2\.6 on"):
            index.sync("v1", catalogue(5), dim=16)
        assert index.versions() == []
