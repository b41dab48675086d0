"""Tests for ranker/leaks.py: every leak planted is named, and an honest table raises no alarm."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.bootstrap import Interval
from evaluation.time_split import TimeSplit
from features.log import Log
from ranker.config import RankerConfig
from ranker.experiment import Variant, run_experiment
from ranker.leaks import (
    clock_alarm,
    feature_aucs,
    shifted,
    shuffled_alarm,
    too_good,
    with_features_of_others,
)

TREES = RankerConfig(num_rounds=10, learning_rate=0.2, num_members=1)


@pytest.fixture(scope="module")
def log(preference_world):
    return Log(*preference_world)


def test_the_auc_of_a_feature_is_that_inside_requests():
    frame = pl.DataFrame(
        {
            "request_id": ["r"] * 3 + ["s"] * 2,
            "user_id": "u",
            "ts": [0] * 3 + [1] * 2,
            "relevance": [1, 0, 0, 2, 0],
            "rises": [3, 1, 2, 0, None],
            "falls": [1, 3, 1, 0, 9],
        }
    )
    found = feature_aucs(frame, ["rises", "falls"])
    assert found["rises"].auc == 1
    assert found["falls"].auc == 1 - (0.25 + 0) / 2  # of r one below and one equal, of s one below


def test_an_honest_table_raises_no_alarm(preference_table, log):
    assert too_good(preference_table) == []
    assert clock_alarm(log, preference_table, num_requests=5, seed=0) == []


def test_a_clock_an_hour_ahead_is_heard(preference_table, log):
    late = shifted(log, preference_table, num_requests=100, seed=0)
    [alarm] = too_good(late)
    # What is chosen within the hour is in the history, and is not counted in its size.
    assert set(alarm.features[:3]) == {"is_repeat", "history_size", "session_size"}


def test_a_feature_that_knows_the_answer_is_named(preference_table):
    frame = preference_table.frame.with_columns(
        item_rate=(pl.col("relevance") + 0.1 * pl.col("item_rate")).cast(pl.Float32)
    )
    [alarm] = too_good(preference_table.with_frame(frame))
    assert alarm.features == ["item_rate"]


def test_features_that_are_otherwise_without_the_future_are_named(preference_table, log):
    frame = preference_table.frame.with_columns(item_positives=pl.col("item_positives") + 1)
    [alarm] = clock_alarm(log, preference_table.with_frame(frame), num_requests=5, seed=0)
    assert alarm.features == ["item_positives"]
    assert "item_positives in 100% of the rows" in alarm.says


def test_a_later_vector_of_an_export_is_heard_by_its_clock(preference_table, log):
    later = preference_table.frame.select(
        "request_id", "user_id", "item_id", pl.col("ts") + timedelta(hours=5), "relevance"
    )
    from features.table import build_features

    made = build_features(later, log.events, log.items, log.vectors)
    leaking = made.frame.with_columns(pl.col("ts") - timedelta(hours=5))
    [alarm] = clock_alarm(log, made.with_frame(leaking), num_requests=20, seed=0)
    assert "item_impressions" in alarm.features


def test_features_of_others_lose_the_gain(preference_table):
    blind = with_features_of_others(preference_table, ["match_max"], seed=0)
    assert sorted(blind.frame["match_max"].fill_null(9)) == sorted(
        preference_table.frame["match_max"].fill_null(9)
    )
    assert blind.frame.drop("match_max").equals(preference_table.frame.drop("match_max"))
    assert not np.array_equal(blind.frame["match_max"], preference_table.frame["match_max"])


def test_a_gain_that_stays_is_an_alarm():
    [alarm] = shuffled_alarm(Interval(0.1, 0.05, 0.15), ["match_max"])
    assert (alarm.kind, alarm.features) == ("order", ["match_max"])
    assert shuffled_alarm(Interval(0.1, 0.01, 0.19), ["match_max"]) == []  # two errors: by chance


def test_an_experiment_sounds_the_alarm_of_a_planted_leak(preference_table):
    frame = preference_table.frame.with_columns(
        match_last=pl.col("relevance").cast(pl.Float32) + pl.col("match_mean").fill_null(0) / 10
    )
    at = preference_table.frame["ts"].min() + timedelta(hours=300)
    report = run_experiment(
        preference_table.with_frame(frame),
        split=TimeSplit(at=at),
        variants={
            "base": Variant(groups=("context",)),
            "all": Variant(groups=("context", "match")),
        },
        config=TREES,
        num_resamples=50,
    )
    assert [alarm.features for alarm in report.alarms] == [["match_last"]]
    assert report.overall.differences["all"]["gauc"].mean > 0.3
    assert report.controls.shuffled_gain.low < 0
