"""Tests for ranker/model.py and ranker/training.py."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from evaluation.metrics import ndcg
from evaluation.rankings import Rankings
from ranker.config import RankerConfig
from ranker.training import train

QUICK = RankerConfig(num_rounds=20, num_leaves=7, learning_rate=0.2)


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


def test_seed_decides_the_order_of_rows_inside_a_request(preference_table, ranker):
    # Nothing else is drawn: without bagging LightGBM has no use for its own seed.
    other = train(preference_table, config=replace(QUICK, seed=1))
    assert not np.array_equal(other.predict(preference_table), ranker.predict(preference_table))


def test_training_stops_where_validation_stops_rising(preference_table):
    patient = replace(QUICK, num_rounds=60, early_stopping_rounds=5)
    assert 1 < train(preference_table, config=patient).booster.num_trees() < 60
    all_in = replace(patient, validation_share=0.0)
    assert train(preference_table, config=all_in).booster.num_trees() == 60


def test_features_of_another_embedder_are_refused(preference_table, ranker):
    centring = replace(preference_table.centring, model_version="v2")
    other = replace(preference_table, centring=centring)
    with pytest.raises(ValueError, match="features of embedder 'v1', got 'v2'"):
        ranker.predict(other)


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
