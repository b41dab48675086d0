"""The index on a real Milvus server, at the address in `TEST_MILVUS`.

    TEST_MILVUS=http://127.0.0.1:19530 python -m pytest -m integration tests/recall

It makes and drops collections whose names begin with `pondertest_`.
"""

import os
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from recall.collection import IndexConfig
from recall.filters import Filter, Range
from recall.index import ItemIndex
from recall.validation import validate

pytestmark = pytest.mark.integration


@pytest.fixture
def server():
    uri = os.environ.get("TEST_MILVUS")
    if not uri:
        pytest.skip("set TEST_MILVUS to the address of a Milvus server")
    with ItemIndex.open(IndexConfig(uri=uri, alias="pondertest", page_rows=50)) as index:
        _clean(index)
        yield index
        _clean(index)


def _clean(index):
    client = index._client
    for alias in ("pondertest", "previouspondertest"):
        if client.has_collection(alias):
            client.drop_alias(alias)
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
        },
        schema_overrides={"vector": pl.List(pl.Float32)},
    )


def test_a_version_lives_its_whole_life_on_a_server(server):
    rows = catalogue(230)
    assert server.sync("v1", rows, dim=16).upserted == 230
    assert server.sync("v1", rows, dim=16).unchanged == 230
    assert validate(server, "v1", rows).problems == []
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
    assert (server.live_version(), server.previous_version()) == ("v2", "v1")
    assert server.rollback() == "v1"
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
