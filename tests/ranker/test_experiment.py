"""Tests for ranker/experiment.py, in a world where preferences decide."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from evaluation.time_split import TimeSplit
from ponder.json_form import to_json
from ranker.config import RankerConfig
from ranker.experiment import _compared, run_experiment

START = datetime(2026, 3, 1, tzinfo=UTC)


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


def test_slices_of_requests_share_out_the_rows(report):
    assert sum(part.num_rows for part in report.slices["history_size"].values()) == 1000


def test_an_item_slice_is_made_of_the_comparisons_that_its_items_take_part_in():
    """Of liked a (young), b and others c (young), d: a over c, a over d, b over c; not b over d."""
    frame = pl.DataFrame(
        {
            "request_id": ["r"] * 4 + ["s"] * 2,
            "user_id": "u",
            "ts": START,
            "item_id": list("abcdbd"),
            "relevance": [1, 1, 0, 0, 1, 0],
        }
    )
    young = pl.Series([True, False, True, False, False, False])
    groups = _compared(frame, young).group_by("request_id").agg("item_id", "row").rows()
    assert {request: ("".join(ids), rows) for request, ids, rows in groups} == {
        "r its liked": ("acd", [0, 2, 3]),
        "r others liked": ("bc", [1, 2]),
    }


def test_report_is_json_without_nan(report):
    loaded = json.loads(to_json(report))
    assert loaded["overall"]["metrics"]["with match"]["ndcg@10"].keys() == {"mean", "low", "high"}
    assert sum(loaded["importances"].values()) == pytest.approx(1)
