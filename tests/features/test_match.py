"""Tests for features/match.py and features/similarity.py, against a slow row-by-row oracle."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.centred_embeddings import CentredEmbeddings
from features.centring import Centring
from features.match import match_features
from features.match_config import MatchConfig
from features.schema import feature_schema

CONFIG = MatchConfig(slots=8, num_tiers=4)
EDGES = (-0.3, 0.0, 0.4)


def centred_of(vectors, edges=EDGES):
    rows = np.array(list(vectors.values()), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    centring = Centring("v1", (0.0,) * rows.shape[1], edges)
    return CentredEmbeddings(centring, pl.Series(list(vectors)), rows)


def past(**histories):
    """Request -> list of (item, age in hours), newest first."""
    return pl.DataFrame(
        {
            "request": list(histories),
            "items": [[item for item, _ in rows] for rows in histories.values()],
            "ages_h": [[age for _, age in rows] for rows in histories.values()],
        },
        schema={
            "request": pl.String,
            "items": pl.List(pl.String),
            "ages_h": pl.List(pl.Float32),
        },
    )


def shown(*rows):
    return pl.DataFrame(rows, schema={"request": pl.String, "item_id": pl.String}, orient="row")


def one(frame, row=0):
    return frame.row(row, named=True)


def random_world(seed, num_items=40, num_requests=25, dim=6):
    rng = np.random.default_rng(seed)
    ids = [f"i{k}" for k in range(num_items)]
    vectors = {item: rng.normal(size=dim) for item in ids[:-5]}  # five have no vector
    vectors |= {"i1": vectors["i0"], "i2": vectors["i0"], "i4": vectors["i3"]}  # exact duplicates
    centred = centred_of(vectors)
    rows = {}
    for r in range(num_requests):
        length = int(rng.integers(0, 13))
        ages = np.sort(rng.exponential(200, size=length)).astype(np.float32)
        rows[f"r{r}"] = list(zip(rng.choice(ids, length, replace=False), ages, strict=True))
    pairs = [(f"r{rng.integers(num_requests)}", rng.choice(ids)) for _ in range(300)]
    return shown(*pairs), past(**rows), centred


def without(item, history, centred):
    """The history without the item and whatever has its very vector."""
    vector_of = dict(zip(centred.item_ids, centred.vectors_ND.tolist(), strict=True))
    own = vector_of.get(item)
    return [(i, age) for i, age in history if i != item and (not own or vector_of.get(i) != own)]


def slow_row(item, history, centred):
    """The definitions, for one candidate, in double precision."""
    vector_of = dict(zip(centred.item_ids, centred.vectors_ND.astype(np.float64), strict=True))
    names = CONFIG.similarity_names() + CONFIG.tier_names()
    left = [(vector_of[i], age) for i, age in without(item, history, centred) if i in vector_of]
    left = left[: CONFIG.slots]
    if item not in vector_of or not left:
        return dict.fromkeys(names)
    s = [float(vector_of[item] @ vector) for vector, _ in left]
    best = sorted(s, reverse=True)
    row = {
        "match_max": best[0],
        "match_mean": sum(s) / len(s),
        "match_top3_mean": sum(best[:3]) / len(best[:3]),
        "match_top5_mean": sum(best[:5]) / len(best[:5]),
        "match_top10_mean": sum(best[:10]) / len(best[:10]),
        "match_last": s[0],
        "match_last5_max": max(s[:5]),
    }
    for days in CONFIG.half_lives_days:
        newest = min(age for _, age in left)
        total = sum(2.0 ** (-(age - newest) / (24 * days)) * vector for vector, age in left)
        row[f"match_profile_{days}d"] = float(vector_of[item] @ total / np.linalg.norm(total))
    bounds = [-math.inf, *EDGES, math.inf]
    counts = [sum(low <= x < high for x in s) for low, high in itertools.pairwise(bounds)]
    row |= {f"match_tier{t}_share": c / len(s) for t, c in enumerate(counts)}
    return row | {f"match_tier{t}_log1p": math.log1p(c) for t, c in enumerate(counts)}


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_slow_oracle(seed):
    impressions, histories, centred = random_world(seed)
    got = match_features(impressions, histories, centred, config=CONFIG)
    history_of = {
        row["request"]: list(zip(row["items"], row["ages_h"], strict=True))
        for row in histories.iter_rows(named=True)
    }
    assert len(got) == len(impressions)
    for asked, row in zip(impressions.iter_rows(named=True), got.to_dicts(), strict=True):
        history = history_of[asked["request"]]
        for name, value in slow_row(asked["item_id"], history, centred).items():
            assert row[name] == (value if value is None else pytest.approx(value, abs=1e-5)), name
        left = without(asked["item_id"], history, centred)
        assert row["history_size"] == min(len(left), CONFIG.slots)
        assert row["is_repeat"] == (asked["item_id"] in [i for i, _ in history])


def test_features_of_a_request_do_not_depend_on_the_batch():
    impressions, histories, centred = random_world(7)
    together = impressions.with_columns(
        match_features(impressions, histories, centred, config=CONFIG)
    )
    for request in impressions["request"].unique():
        mine = pl.col("request") == request
        alone = match_features(
            impressions.filter(mine), histories.filter(mine), centred, config=CONFIG
        )
        expected = together.filter(mine).drop("request", "item_id")
        assert_frame_equal(alone, expected, check_exact=True)  # bit for bit


def test_blocks_do_not_change_a_value(monkeypatch):
    impressions, histories, centred = random_world(3)
    whole = match_features(impressions, histories, centred, config=CONFIG)
    monkeypatch.setattr("features.grouped_requests.BLOCK_ROWS", 20)
    assert_frame_equal(match_features(impressions, histories, centred, config=CONFIG), whole)


def test_columns_are_those_of_the_schema():
    impressions, histories, centred = random_world(0)
    got = match_features(impressions, histories, centred, config=CONFIG)
    listed = {f.name: f.dtype for f in feature_schema(CONFIG) if f.group in ("match", "feedback")}
    assert {name: str(dtype) for name, dtype in got.schema.items()} == listed


def test_candidate_is_not_compared_with_itself():
    centred = centred_of({"a": (1, 0), "b": (0, 1)})
    got = one(match_features(shown(("r", "a")), past(r=[("a", 1.0), ("b", 900.0)]), centred))
    assert got["is_repeat"] is True
    assert got["match_max"] == got["match_last"] == got["match_profile_1d"] == 0.0


def test_a_history_that_cancels_has_no_profile():
    centred = centred_of({"a": (1, 0), "b": (0.6, 0.8), "c": (-0.6, -0.8)})
    got = one(match_features(shown(("r", "a")), past(r=[("b", 5.0), ("c", 5.0)]), centred))
    assert got["match_profile_1d"] is got["match_profile_30d"] is None
    assert got["match_max"] == pytest.approx(0.6)


def test_a_row_does_not_hang_on_the_other_candidates_or_their_order():
    impressions, histories, centred = random_world(5)
    absolute = CONFIG.similarity_names() + CONFIG.tier_names()
    whole = match_features(impressions, histories, centred, config=CONFIG)
    turned = match_features(impressions[::-1], histories, centred, config=CONFIG)
    assert_frame_equal(turned[::-1], whole, abs_tol=1e-5)
    for n in range(0, len(impressions), 7):
        alone = match_features(impressions[n : n + 1], histories, centred, config=CONFIG)
        assert_frame_equal(alone.select(absolute), whole[n : n + 1].select(absolute), abs_tol=1e-5)


def test_missing_is_null_and_not_zero():
    centred = centred_of({"a": (1, 0), "b": (0, 1)})
    histories = past(none=[], only_itself=[("a", 1.0)], blind=[("x", 1.0)], good=[("b", 1.0)])
    asked = shown(("none", "a"), ("only_itself", "a"), ("blind", "a"), ("good", "x"))
    got = match_features(asked, histories, centred)
    names = [*MatchConfig().similarity_names(), *MatchConfig().tier_names(), "match_max_rank"]
    assert got.select(names).null_count().row(0) == (4,) * len(names)
    assert got["has_vector"].to_list() == [True, True, True, False]
    assert got["history_size"].to_list() == [0, 0, 1, 1]


def test_old_history_still_has_a_profile():
    centred = centred_of({"a": (1, 0), "b": (1, 1)})
    got = one(match_features(shown(("r", "a")), past(r=[("b", 24.0 * 3650)]), centred))
    assert got["match_profile_1d"] == pytest.approx(math.sqrt(0.5), abs=1e-6)


def test_rank_shares_the_better_place_and_gap_is_to_the_median():
    centred = centred_of({"h": (1, 0), "near": (1, 0.1), "far": (0, 1), "far2": (0, -1)})
    asked = shown(("r", "far"), ("r", "near"), ("r", "far2"), ("s", "far"))
    got = match_features(asked, past(r=[("h", 1.0)], s=[("h", 1.0)]), centred)
    assert got["match_max_rank"].to_list() == [2, 1, 2, 1]
    near = 1 / math.hypot(1, 0.1)
    np.testing.assert_allclose(got["match_max_gap"], [0, near, 0, 0], atol=1e-6)


def test_cosine_on_an_edge_belongs_to_the_tier_above():
    centred = centred_of({"a": (1, 0), "b": (0, 1)}, edges=(0.0,))
    config = MatchConfig(num_tiers=2)
    got = one(match_features(shown(("r", "a")), past(r=[("b", 1.0)]), centred, config=config))
    assert (got["match_tier0_share"], got["match_tier1_share"]) == (0.0, 1.0)


def test_request_without_a_history_row_is_refused():
    centred = centred_of({"a": (1, 0)})
    with pytest.raises(ValueError, match="none for 'lost'"):
        match_features(shown(("lost", "a")), past(r=[]), centred)


def test_relative_forms_need_a_similarity():
    with pytest.raises(ValueError, match=r"got \['history_size'\]"):
        MatchConfig(relative=("history_size",))


def test_fewer_features_have_the_same_values():
    impressions, histories, centred = random_world(2)
    few = MatchConfig(
        slots=8,
        top_k=(3,),
        half_lives_days=(),
        num_tiers=0,
        relative=(),
        details=False,
        feedback=False,
    )
    got = match_features(impressions, histories, centred, config=few)
    whole = match_features(impressions, histories, centred, config=CONFIG)
    assert set(whole.columns) > set(got.columns)
    assert_frame_equal(got, whole.select(got.columns), abs_tol=1e-6)
    with pytest.raises(ValueError, match="num_tiers must be 0 or >= 2, got 1"):
        MatchConfig(num_tiers=1)


def test_counts_of_a_request_are_its_own_whatever_other_items_have_vectors():
    rng = np.random.default_rng(0)
    centred = centred_of({f"i{n:02d}": rng.normal(size=4) for n in range(40)})
    asked = [f"r{n}" for n in range(12)]
    histories = past(**{name: [("i00", 1.0), ("i02", 2.0)] for name in asked})
    got = match_features(shown(*((name, "i01") for name in asked)), histories, centred)
    assert got["history_size"].to_list() == [2] * len(asked)
    assert not got["is_repeat"].any()
