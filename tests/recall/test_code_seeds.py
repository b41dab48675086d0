"""Recall among items that share codes with a history, on Milvus Lite. Axes: red, green, blue, grey.

An item's codes are what its vector is nearest to: the first its greatest axis, the second its next.
"""

import numpy as np
import polars as pl
import pytest
from pymilvus import MilvusClient

from embedder.content import Content
from features.profile import ProfileConfig
from recall.candidates import RecallOptions
from recall.code_seeds import CodeSeeds
from recall.collection import collection_name, item_schema
from recall.errors import InvalidQuery, NotFound, Unavailable
from recall.filters import Filter
from recall.search import Recall
from tests.index_fixtures import AxisCoder, KnownHistories

ITEMS = {
    "rose": [1, 0.1, 0, 0],
    "brick": [1, 0, 0, 0.1],
    "wine": [0.9, 0, 0.4, 0],
    "leaf": [0, 1, 0.2, 0],
    "pine": [0, 0.9, 0.3, 0],
    "moss": [0, 0.8, 0, 0.6],
    "sky": [0, 0, 1, 0.3],
    "gone": [0, 0, 0, 1],
}


def codes_of(vector):
    return AxisCoder().assign(np.array([vector]))[0].tolist()


@pytest.fixture(scope="module")
def recall(index, rows, encoder):
    told = AxisCoder().told(np.array(list(ITEMS.values())))
    frame = rows(**ITEMS).with_columns(codes=pl.Series(told))
    index.sync("v1", frame.filter(pl.col("item_id") != "gone"), dim=4)
    index.promote("v1")
    histories = KnownHistories({"ann": ["leaf", "gone", "rose", "pine"]})
    return Recall(index, {"v1": encoder}.__getitem__, histories, codes_of={"v1": AxisCoder()}.get)


def found(candidates):
    columns = candidates.frame.select("item_id", "channels", "interest")
    return [(item_id, interest) for item_id, [channel], interest in columns.rows()]


def among(prefix, item_id, *, excluded=()):
    """Items with these first codes, the nearest to an item first, by brute force."""
    unit = {item: np.array(v) / np.linalg.norm(v) for item, v in ITEMS.items() if item != "gone"}
    same = [item for item in unit if codes_of(ITEMS[item])[: len(prefix)] == prefix]
    scores = {item: round(float(unit[item] @ unit[item_id]), 6) for item in same}
    return sorted(scores.keys() - set(excluded), key=lambda item: (-scores[item], item))


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("item_id", ["rose", "leaf", "sky"])
def test_an_item_finds_those_of_its_first_codes_and_no_others(recall, levels, item_id):
    got = recall.by_item(item_id, RecallOptions(top_k=5, code_levels=levels))
    expected = among(codes_of(ITEMS[item_id])[:levels], item_id, excluded=[item_id])
    assert found(got) == [(item, item_id) for item in expected]
    assert got.frame["channels"].to_list() == [["codes"]] * len(expected)


def test_a_history_is_searched_by_its_prefixes_which_take_turns_by_their_weight(recall):
    options = RecallOptions(top_k=5, code_levels=1, max_interests=3, exclude_seen="liked")
    got = recall.by_user("ann", options)
    # Of the prefix 1 there is leaf and pine, with leaf the newer; of 0 there is rose.
    assert found(got) == [("moss", "leaf"), ("brick", "rose"), ("wine", "rose")]
    weights = [1, 0.5**0.1, 0.5**0.2]  # `gone` is not in the version
    assert [(one.item_id, one.size) for one in got.interests] == [("leaf", 2), ("rose", 1)]
    assert got.interests[0].weight == pytest.approx((weights[0] + weights[2]) / sum(weights))
    one = recall.by_user("ann", RecallOptions(top_k=5, code_levels=1, exclude_seen="liked"))
    assert found(one) == [("moss", "leaf")]


def test_other_conditions_hold_beside(recall):
    only = Filter(exclude_ids=("brick",))
    got = recall.by_item("rose", RecallOptions(top_k=5, filter=only, code_levels=1))
    assert found(got) == [("wine", "rose")]
    green = Filter(code_prefixes=("1-2", "0-2"))
    got = recall.by_item("rose", RecallOptions(top_k=5, filter=green, code_levels=1))
    assert found(got) == [("wine", "rose")]
    none = Filter(code_prefixes=("3",))
    assert found(recall.by_item("rose", RecallOptions(filter=none, code_levels=1))) == []


def test_what_is_found_may_be_spread_out(recall):
    options = RecallOptions(top_k=2, code_levels=1, max_interests=2, mmr_lambda=0.5)
    got = recall.by_history(["leaf", "rose"], options)
    assert set(got.frame["interest"]) == {"leaf", "rose"}


def test_a_text_may_be_looked_for_among_codes_by_the_filter(recall):
    options = RecallOptions(top_k=9, filter=Filter(code_prefixes=("0-2", "1")))
    got = recall.by_content(Content("blue"), options).frame["item_id"].to_list()
    assert got == ["wine", "pine", "leaf", "moss"]


def test_a_version_without_codes_or_with_fewer_levels_says_so(recall, index, encoder):
    bare = Recall(index, {"v1": encoder}.__getitem__, KnownHistories())
    with pytest.raises(Unavailable, match="ponder codes learn"):
        bare.by_item("rose", RecallOptions(code_levels=1))
    with pytest.raises(InvalidQuery, match=r"in \[1, 2\] for the codes of version 'v1', got 3"):
        recall.by_item("rose", RecallOptions(code_levels=3))
    with pytest.raises(InvalidQuery, match="code_levels must be >= 1"):
        RecallOptions(code_levels=0)


def test_a_user_without_a_usable_history_gets_what_anybody_gets(recall):
    with pytest.raises(NotFound):
        recall.by_user("nobody", RecallOptions(code_levels=1, strict=True))
    assert recall.by_user("nobody", RecallOptions(code_levels=1)).fallback


def test_a_collection_of_before_there_were_codes_goes_on_without(index, rows, encoder):
    name, schema = collection_name(index.config.alias, "old"), item_schema(4)
    schema._fields = [field for field in schema.fields if field.name != "codes"]
    params = MilvusClient.prepare_index_params()
    params.add_index("vector", index_type="FLAT", metric_type="COSINE")
    index._client.create_collection(name, schema=schema, index_params=params)
    frame = rows(**ITEMS).with_columns(codes=pl.lit("1-2-"))
    assert index.sync("old", frame, dim=4).upserted == len(ITEMS)
    assert index.sync("old", frame, dim=4).unchanged == len(ITEMS)
    query = np.array([[1.0, 0, 0, 0]])
    assert index.search(query, "old", limit=1)["item_id"].to_list() == ["brick"]
    asked = Filter(code_prefixes=("1",))
    for ask in (
        lambda: index.search(query, "old", limit=1, filter=asked),
        lambda: index.vectors(["rose"], "old", filter=asked),
        lambda: index.count("old", filter=asked),
    ):
        with pytest.raises(Unavailable, match="before there were codes"):
            ask()
    index.drop("old")


class Together:
    """Everything was liked together with everything; `plain` has no vector."""

    def nearest(self, history):
        return ["plain", "sky", "rose", "moss"]


class Living:
    """All that the lake knows of, by conditions that it can tell; of codes it knows nothing."""

    def that_meet(self, filter, item_ids):
        assert filter.code_prefixes is None
        return set(item_ids)


def test_what_has_no_vector_has_no_codes_to_be_found_by(index, rows, encoder, recall):
    stores = {"neighbours": Together, "living": Living()}
    both = Recall(index, {"v1": encoder}.__getitem__, KnownHistories(), **stores)
    codes = Filter(code_prefixes=("0", "1-3"))
    asked = RecallOptions(top_k=9, needs_vector=False, filter=codes)
    assert both.liked_together(["leaf"], asked)["item_id"].to_list() == ["rose", "moss"]
    anything = both.liked_together(["leaf"], RecallOptions(top_k=9, needs_vector=False))
    assert anything["item_id"].to_list() == ["plain", "sky", "rose", "moss"]


def test_the_heaviest_prefixes_are_searched_though_another_is_newer():
    green, red = np.array([0.0, 1, 0, 0]), np.array([1.0, 0, 0, 0])
    seeds, found = CodeSeeds(lambda version: AxisCoder(), ProfileConfig(half_life=10)).of(
        ["new", "old", "older"], [green, red, red], "v1", RecallOptions(code_levels=1)
    )
    assert [(seed.interest, seed.code_prefix) for seed in seeds] == [("old", "0")]
    assert [one.size for one in found] == [2]


def test_equal_weights_go_by_the_newest():
    seeds, found = CodeSeeds(lambda version: AxisCoder(), ProfileConfig(half_life=1e9)).of(
        ["a", "b", "c"],
        [np.array(v, dtype=float) for v in ([0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0])],
        "v1",
        RecallOptions(code_levels=1, max_interests=2),
    )
    assert [seed.interest for seed in seeds] == ["a", "b"]
    assert [seed.code_prefix for seed in seeds] == ["1", "0"]
    assert [one.size for one in found] == [1, 1]
