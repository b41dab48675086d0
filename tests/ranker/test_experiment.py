"""Tests for ranker/experiment.py, in a world where preferences decide."""

import json
from datetime import timedelta

import polars as pl
import pytest

from evaluation.time_split import TimeSplit
from ponder.json_form import to_json
from ranker.config import RankerConfig
from ranker.experiment import run_experiment


@pytest.fixture(scope="module")
def report(preference_table):
    at = preference_table.frame["ts"].min() + timedelta(hours=300)
    return run_experiment(
        preference_table,
        split=TimeSplit(at=at),
        config=RankerConfig(num_rounds=20, learning_rate=0.2, num_members=1),
        num_seeds=2,
        num_resamples=100,
    )


def test_match_features_pay_where_preferences_decide(report):
    gained = report.overall.differences["with match"]
    assert gained["ndcg@10"].mean > 0.1
    assert gained["ndcg@10"].low > 0
    assert gained["gauc"].low > 0


def test_sizes_are_those_of_the_split(report):
    assert (report.num_train_rows, report.num_train_requests) == (3000, 300)
    assert (report.overall.num_rows, report.overall.num_requests) == (1000, 100)


@pytest.mark.parametrize("name", ["item_age", "item_popularity", "history_size"])
def test_slices_share_out_the_rows(report, name):
    # Items that are not created yet have no age; here the last one appears at hour 298 of 300.
    assert sum(part.num_rows for part in report.slices[name].values()) == 1000


def test_item_age_slices_are_cut_by_hours(report, preference_table):
    test = preference_table.frame.tail(1000)
    young = test.filter(pl.col("item_age_h") < 24)
    assert report.slices["item_age"]["< 24 h"].num_rows == len(young)


def test_report_is_json_without_nan(report):
    loaded = json.loads(to_json(report))
    assert loaded["overall"]["metrics"]["with match"]["ndcg@10"].keys() == {"mean", "low", "high"}
    assert sum(loaded["importances"].values()) == pytest.approx(1)
