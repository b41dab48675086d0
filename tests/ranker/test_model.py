"""Tests for ranker/model.py, ranker/training.py and ranker/config.py."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.metrics import ndcg
from evaluation.rankings import Rankings
from features.centring import Centring
from features.schema import Feature
from features.table import FeatureTable
from ranker.config import RankerConfig, read_config
from ranker.training import train
from ranker.training_rows import NothingToLearn

START = datetime(2026, 3, 1, tzinfo=UTC)
QUICK = RankerConfig(num_rounds=20, learning_rate=0.2, num_members=1)


@pytest.fixture(scope="module")
def ranker(preference_table):
    return train(preference_table, config=QUICK)


def test_training_learns_to_order(preference_table, ranker):
    scored = preference_table.frame.with_columns(score=pl.Series(ranker.predict(preference_table)))
    constant = preference_table.frame.with_columns(score=pl.lit(0.0))
    assert ndcg(Rankings.of(scored), k=10).mean() > ndcg(Rankings.of(constant), k=10).mean() + 0.2


def test_order_of_rows_changes_nothing(preference_table, ranker):
    clicked_first = preference_table.with_frame(
        preference_table.frame.sort("relevance", descending=True)
    )
    again = train(clicked_first, config=QUICK)
    np.testing.assert_array_equal(again.predict(preference_table), ranker.predict(preference_table))


def test_score_does_not_depend_on_the_batch(preference_table, ranker):
    together = ranker.predict(preference_table)
    for begin in (0, 10, 1230):
        alone = ranker.predict(
            preference_table.with_frame(preference_table.frame[begin : begin + 10])
        )
        np.testing.assert_array_equal(alone, together[begin : begin + 10])


def test_seed_decides_the_trees(preference_table, ranker):
    other = train(preference_table, config=replace(QUICK, seed=1))
    assert not np.array_equal(other.predict(preference_table), ranker.predict(preference_table))
    again = train(preference_table, config=QUICK)
    np.testing.assert_array_equal(again.predict(preference_table), ranker.predict(preference_table))


def test_the_score_is_the_mean_of_members_that_differ(preference_table):
    ranker = train(preference_table, config=replace(QUICK, num_members=3, num_rounds=5))
    parts = [replace(ranker, boosters=(one,)).predict(preference_table) for one in ranker.boosters]
    assert len(parts) == 3
    assert not np.array_equal(parts[0], parts[1])
    np.testing.assert_allclose(ranker.predict(preference_table), np.mean(parts, axis=0))


def test_all_trees_are_grown_and_every_request_is_learnt_from(preference_table):
    ranker = train(preference_table, config=replace(QUICK, num_members=2, num_rounds=30))
    assert ranker.num_trees == 60
    assert ranker.trained_on.num_requests == 400
    assert ranker.trained_on.last_ts == preference_table.frame["ts"].max()


def test_contributions_sum_to_the_score(preference_table, ranker):
    some = preference_table.with_frame(preference_table.frame.head(50))
    parts_NF = ranker.contributions(some)
    assert parts_NF.shape == (50, len(ranker.feature_names) + 1)
    np.testing.assert_allclose(parts_NF.sum(axis=1), ranker.predict(some), atol=1e-9)


def test_a_monotone_feature_never_lowers_the_score(preference_table):
    # Of features that say nearly the same a model may take either.
    names = ("match_max", "match_mean", "match_top3", "match_profile", "match_last")
    names = [name for name in names if name in preference_table.frame.columns]
    config = replace(QUICK, monotone=dict.fromkeys(names, 1))
    ranker = train(preference_table, feature_groups=("context", "match"), config=config)
    rows = preference_table.frame.head(50)  # not every row comes to a split by the feature
    score_VN = np.array(
        [
            ranker.predict(
                preference_table.with_frame(
                    rows.with_columns(pl.lit(value, dtype=pl.Float32).alias(n) for n in names)
                )
            )
            for value in np.linspace(-1, 1, 41)
        ]
    )
    assert (np.diff(score_VN, axis=0) >= 0).all()
    assert (score_VN[-1] > score_VN[0]).any()


def test_a_constraint_on_an_unknown_feature_is_refused(preference_table):
    with pytest.raises(ValueError, match=r"monotone must name features of the table, got \['no'\]"):
        train(preference_table, config=replace(QUICK, monotone={"no": 1}))


def test_binary_scores_are_log_odds_of_being_relevant(preference_table):
    config = RankerConfig(objective="binary", num_rounds=100, num_members=1)
    ranker = train(preference_table, config=config)
    odds_N = ranker.predict(preference_table)
    # Two of ten are clicked: the mean probability of a log loss fit is the share.
    assert (1 / (1 + np.exp(-odds_N))).mean() == pytest.approx(0.2, abs=0.02)


def test_what_a_high_place_does_by_itself_is_not_learnt():
    """Items of kind 1 are shown first and clicked for it; no kind is better than the other."""
    table = shown_by_kind(num_requests=600, click_by_place=[0.8, 0.1])
    naive = train(table, config=replace(QUICK, position_bias=False))
    fair = train(table, config=QUICK)
    gap = {name: kind_gap(table, r) for name, r in (("naive", naive), ("fair", fair))}
    assert gap["naive"] > 1
    assert abs(gap["fair"]) < gap["naive"] / 3


def shown_by_kind(*, num_requests, click_by_place):
    """Return requests of two items, where kind 1 stands first in four of five."""
    rng = np.random.default_rng(0)
    rows = []
    for r in range(num_requests):
        kinds = [1, 0] if rng.random() < 0.8 else [0, 1]
        for place, kind in enumerate(kinds):
            rows.append(
                {"request_id": f"r{r}", "user_id": "u", "item_id": f"i{kind}"}
                | {"ts": START + timedelta(hours=r), "position": place, "kind": kind}
                | {"relevance": int(rng.random() < click_by_place[place])}
            )
    features = (Feature("kind", "UInt32", "context", "its kind", "given"),)
    centring = Centring("v1", (0.0,), (0.0,))
    frame = pl.DataFrame(rows, schema_overrides={"kind": pl.UInt32, "relevance": pl.Int32})
    return FeatureTable(frame, features, centring, {})


def kind_gap(table, ranker):
    """Score of kind 1 above kind 0."""
    scored = table.frame.with_columns(score=pl.Series(ranker.predict(table)))
    means = dict(scored.group_by("kind").agg(pl.col("score").mean()).iter_rows())
    return means[1] - means[0]


def test_features_of_another_embedder_are_refused(preference_table, ranker):
    centring = replace(preference_table.centring, model_version="v2")
    other = replace(preference_table, centring=centring)
    with pytest.raises(ValueError, match="features of embedder 'v1', got 'v2'"):
        ranker.predict(other)


def test_features_centred_otherwise_are_refused(preference_table, ranker):
    centring = replace(preference_table.centring, edges=preference_table.centring.edges[:-1])
    with pytest.raises(ValueError, match=f"as those of its training .{ranker.centring.id}., got"):
        ranker.predict(replace(preference_table, centring=centring))


def test_features_of_another_schema_are_refused(preference_table, ranker):
    other = replace(preference_table, features=preference_table.features[::-1])
    with pytest.raises(ValueError, match=f"of schema {ranker.schema_hash}, got"):
        ranker.predict(other)


def test_left_out_group_is_not_read(preference_table):
    without = train(preference_table, feature_groups=["context"], config=QUICK)
    assert not any(name.startswith("match") for name in without.feature_names)
    no_match = [f.name for f in preference_table.features if f.group == "match"]
    blanked = preference_table.frame.with_columns(
        pl.lit(None).cast(pl.Float32).alias(n) for n in no_match
    )
    np.testing.assert_array_equal(
        without.predict(preference_table.with_frame(blanked)), without.predict(preference_table)
    )


def test_importances_are_shares(ranker):
    assert sum(ranker.importances().values()) == pytest.approx(1)
    assert next(iter(ranker.importances())).startswith("match")


def test_group_too_large_for_lightgbm_is_refused(preference_table):
    one_group = preference_table.frame.with_columns(
        request_id=pl.lit("r"), user_id=pl.lit("u"), ts=pl.lit(preference_table.frame["ts"][0])
    )
    with pytest.raises(ValueError, match="at most 10000 rows to train on, got 12000 in 'r'"):
        train(preference_table.with_frame(pl.concat([one_group] * 3)), config=QUICK)


def test_no_feature_groups_are_refused(preference_table):
    with pytest.raises(ValueError, match=r"must name features, got \[\]"):
        train(preference_table, feature_groups=[], config=QUICK)


@pytest.mark.parametrize(
    ("relevance", "complaint"),
    [
        (31, r"relevance must be in \[0, 30\], got 31 of item 'i\d+' in request 'r0' and 9 more"),
        (-1, r"must be in \[0, 30\], got -1"),
        (None, r"must be in \[0, 30\], got None"),
        (0.5, "must be whole numbers, got Float64"),
    ],
)
def test_labels_out_of_range_are_refused(preference_table, relevance, complaint):
    first = preference_table.frame["request_id"] == "r0"
    dtype = pl.Float64 if isinstance(relevance, float) else pl.Int32
    wrong = preference_table.frame.with_columns(
        relevance=pl.when(first)
        .then(pl.lit(relevance, dtype))
        .otherwise(pl.col("relevance").cast(dtype))
    )
    with pytest.raises(ValueError, match=complaint):
        train(preference_table.with_frame(wrong), config=QUICK)


@pytest.mark.parametrize("relevance", [0, 1])
def test_requests_in_which_nothing_is_better_teach_nothing(preference_table, relevance):
    same = preference_table.frame.with_columns(relevance=pl.lit(relevance, pl.Int32))
    with pytest.raises(NothingToLearn, match="got 400 requests without"):
        train(preference_table.with_frame(same), config=QUICK)


def test_a_log_with_few_rows_has_smaller_leaves():
    assert RankerConfig().params(num_rows=800, member=0, names=())["min_data_in_leaf"] == 20
    assert RankerConfig().params(num_rows=10**6, member=0, names=())["min_data_in_leaf"] == 100


def test_a_config_is_read_from_a_file(tmp_path):
    path = tmp_path / "ranker.toml"
    path.write_text(
        'objective = "binary"\nnum_leaves = 15\n[monotone]\nitem_rate = 1\n'
        "[lightgbm]\nlambda_l2 = 2.5\n"
    )
    config = read_config(path)
    assert config == RankerConfig(
        objective="binary", num_leaves=15, monotone={"item_rate": 1}, lightgbm={"lambda_l2": 2.5}
    )
    assert config.params(num_rows=10, member=0, names=("item_rate",))["lambda_l2"] == 2.5


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("trees = 3", "must hold fields of a ranker .*unknown field 'trees'"),
        ("num_members = 0", "num_members must be >= 1, got 0"),
        ("[lightgbm]\nseed = 3", "no parameter that has a field of its own, got .'seed'"),
        ("[monotone]\nitem_rate = 2", "monotone must be 1 or -1"),
        ("num_leaves = ", "must hold fields of a ranker"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, complaint):
    path = tmp_path / "ranker.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_config(path)
