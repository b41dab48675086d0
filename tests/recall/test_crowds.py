"""Tests for recall/crowds.py: many items of one vector, on Milvus Lite and against brute force."""

import itertools
import time

import numpy as np
import polars as pl
import pytest
from pymilvus import MilvusClient

from recall import crowds
from recall.collection import IndexConfig, collection_name, item_schema
from recall.filters import Filter
from recall.index import ItemIndex
from recall.placement import CROWD_PARTITION, HASH_DIGITS, Placement, keyed

INTEGRATION = pytest.mark.integration
NEAR_D = np.array([[0.9, 0.1]])
SAME = {f"s{n:02d}": [1, 0.1] for n in range(9)}  # seven in the crowd
OTHERS = {"far": [0, 1], "near": [1, 0.2], "twin1": [1, 1], "twin2": [1, 1]}


@pytest.fixture(scope="module", params=["lite", pytest.param("server", marks=INTEGRATION)])
def crowded(request, tmp_path_factory):
    """An index that keeps two items of a vector in the graph."""
    if request.param == "lite":
        uri = str(tmp_path_factory.mktemp("crowds") / "items.db")
    else:
        uri = request.getfixturevalue("milvus_uri")
    config = IndexConfig(uri=uri, alias="pondertestcrowds", max_identical=2)
    with ItemIndex.open(config) as index:
        yield index
        for version in index.versions():
            index.drop(version)


def brute(frame, query_1D, limit):
    ids, vectors_ND = frame["item_id"].to_numpy(), np.array(frame["vector"].to_list())
    score_N = vectors_ND @ query_1D[0] / np.linalg.norm(vectors_ND, axis=1)
    score_N = np.round(score_N / np.linalg.norm(query_1D[0]), 5)
    return ids[np.lexsort((ids, -score_N))][:limit].tolist()


def check(index, version, frame, limit, filter=None):
    """Compare a search with brute force over what matches; what was written is seen in a while."""
    expected = brute(frame, NEAR_D, limit)
    for _ in range(1 if index.config.is_lite else 100):
        rows = index.search(NEAR_D, version, limit=limit, filter=filter or Filter())
        if rows["item_id"].to_list() == expected:
            break
        time.sleep(0.1)
    assert rows["item_id"].to_list() == expected


def places(index, version):
    """How many rows lie in the graph, and which items lead and follow."""
    name = index._collection(version)
    rows = index._client.query(
        name, filter="", limit=1_000, output_fields=["item_id", "place"], consistency_level="Strong"
    )
    in_graph, lead, crowd = (
        sorted(row["item_id"] for row in rows if row["place"] == place) for place in range(3)
    )
    return len(in_graph), lead, crowd


def test_the_first_of_a_vector_lie_in_the_graph_and_one_leads_the_rest(crowded, rows):
    crowded.sync("first", rows(**SAME, **OTHERS), dim=2)
    assert places(crowded, "first") == (6, ["s02"], [f"s{n:02d}" for n in range(3, 9)])
    assert crowded.count("first") == 13


@pytest.mark.parametrize("limit", [1, 3, 8, 10, 13])
def test_a_search_finds_all_of_a_crowd_in_order_of_ids(crowded, rows, limit):
    frame = rows(**SAME, **OTHERS)
    crowded.sync("found", frame, dim=2)
    check(crowded, "found", frame, limit)


def test_a_filter_that_only_a_follower_meets_finds_it(crowded, rows):
    frame = rows(**SAME, **OTHERS).with_columns(
        category=pl.when(pl.col("item_id").is_in(["s07", "near", "far"]))
        .then(pl.lit("kept"))
        .otherwise("category")
    )
    crowded.sync("filtered", frame, dim=2)
    kept = Filter(category_in=("kept",))
    for limit in (1, 2, 3):
        check(crowded, "filtered", frame.filter(pl.col("category") == "kept"), limit, kept)


def test_random_changes_leave_what_an_index_made_anew_holds(crowded, rows):
    rng = np.random.default_rng(0)
    choices = [[1, 0.1], [0.5, 1], [0, 1], [1, -1]]
    for night in range(4 if crowded.config.is_lite else 2):
        ids = rng.choice(40, size=30, replace=False)
        vectors = {f"i{n:02d}": choices[rng.choice(4, p=[0.5, 0.3, 0.1, 0.1])] for n in ids}
        frame = rows(**vectors).with_columns(
            content_hash=pl.Series([f"{vectors[i]}" for i in vectors])
        )
        crowded.sync("nights", frame, dim=2)
        crowded.sync(f"night{night}", frame, dim=2)
        assert places(crowded, "nights") == places(crowded, f"night{night}")
        assert crowded.count("nights") == 30
        hashes = [crowded.keys(v).sort("item_id") for v in ("nights", f"night{night}")]
        assert hashes[0].equals(hashes[1])
        check(crowded, "nights", frame, 12)
        assert crowded.sync("nights", frame, dim=2).unchanged == 30


def test_any_number_of_crowds_is_known(crowded, rows, monkeypatch):
    monkeypatch.setattr(crowds, "PAGE_ROWS", 2)
    vectors = {f"i{n}{m}": [1, n / 10] for n in range(7) for m in range(4)}
    frame = rows(**vectors)
    crowded.sync("many", frame, dim=2)
    assert len(crowded._crowds.leads(crowded._collection("many")).keys) == 7
    check(crowded, "many", frame, 28)
    check(crowded, "many", frame, 9)


def test_whoever_leads_is_followed_by_another(crowded, rows):
    frame = rows(**SAME, **OTHERS)
    crowded.sync("led", frame, dim=2)
    for gone in ("s02", "s00", "s03", "s05"):
        crowded.discard([gone])
        frame = frame.filter(pl.col("item_id") != gone)
        assert len(places(crowded, "led")[1]) == 1
        check(crowded, "led", frame, 7)
    crowded.sync("led", frame, dim=2)
    assert places(crowded, "led") == (6, ["s06"], ["s07", "s08"])


def test_what_is_put_is_found_wherever_it_lay_before(crowded, rows):
    frame = rows(**SAME, **OTHERS)
    crowded.sync("put", frame, dim=2)
    moved = rows(s02=[0.9, 0.1], near=[1, 0.1], new=[1, 0.1])  # the leader leaves, two join
    for item_id in moved["item_id"]:
        crowded.put("put", moved.filter(pl.col("item_id") == item_id))
    frame = pl.concat([frame.filter(~pl.col("item_id").is_in(["s02", "near"])), moved])
    assert crowded.count("put") == 14
    check(crowded, "put", frame, 12)
    assert crowded.vectors(["s02"], "put")["s02"] == pytest.approx([0.9, 0.1], abs=1e-6)


def test_placing_in_parts_is_placing_at_once():
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "item_id": [f"i{n:03d}" for n in range(200)],
            "vector": rng.integers(1, 4, (200, 2)).astype(float).tolist(),
            "row_hash": ["0" * HASH_DIGITS] * 200,
        }
    )
    at_once = Placement(3).place(keyed(frame))
    in_parts, cuts = Placement(3), [0, 1, 50, 51, 120, 200]
    parts = [
        in_parts.place(keyed(frame[a:b].sample(fraction=1, shuffle=True, seed=0)))
        for a, b in itertools.pairwise(cuts)
    ]
    assert pl.concat(parts).equals(at_once)
    numbers = at_once.group_by("vector_key").agg("place").sort("vector_key")["place"].to_list()
    assert all(
        group[:3] == [0, 0, 0] and group[3] == 1 and set(group[4:]) <= {2} for group in numbers
    )


def test_a_collection_of_before_there_were_crowds_goes_on(crowded, rows):
    name, schema = collection_name(crowded.config.alias, "old"), item_schema(2)
    schema._fields = [f for f in schema.fields if f.name not in ("vector_key", "place")]
    index_params = MilvusClient.prepare_index_params()
    index_params.add_index("vector", index_type="FLAT", metric_type="COSINE")
    crowded._client.create_collection(name, schema=schema, index_params=index_params)
    frame = rows(**SAME, **OTHERS)
    crowded.sync("old", frame, dim=2)
    crowded.discard(["s01"])
    crowded.put("old", rows(new=[1, 0.1]))
    frame = pl.concat([frame.filter(pl.col("item_id") != "s01"), rows(new=[1, 0.1])])
    check(crowded, "old", frame, 10)
    assert not crowded._client.has_partition(name, CROWD_PARTITION)
