"""Tests for ranker/experiment.py, in a world where preferences decide."""

import json
from datetime import timedelta

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


def test_slices_of_requests_share_out_the_rows(report):
    assert sum(part.num_rows for part in report.slices["history_size"].values()) == 1000


def test_an_item_slice_holds_its_liked_rows_among_what_was_not_liked_beside_them(
    report, preference_table
):
    rows = preference_table.frame.tail(1000).select("request_id", "relevance", "item_age_h").rows()
    young = [row for row in rows if row[2] < 24 and row[1] >= 1]
    requests = {row[0] for row in young}
    rivals = [row for row in rows if row[0] in requests and row[1] == 0]
    part = report.slices["item_age"]["< 24 h"]
    assert young
    assert part.num_rows == len(young) + len(rivals)
    assert part.num_requests == len(requests)


def test_report_is_json_without_nan(report):
    loaded = json.loads(to_json(report))
    assert loaded["overall"]["metrics"]["with match"]["ndcg@10"].keys() == {"mean", "low", "high"}
    assert sum(loaded["importances"].values()) == pytest.approx(1)
