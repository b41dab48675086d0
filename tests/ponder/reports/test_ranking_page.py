"""Tests for ponder/reports/ranking: the page of an experiment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.bootstrap import Interval
from evaluation.time_split import TimeSplit
from features.centring import Centring
from features.schema import Feature
from features.table import FeatureTable
from ponder.reports.ranking.page import write_experiment, write_ratings_experiment
from ponder.steps.experiment import RatingsExperiment
from ranker.config import RankerConfig
from ranker.experiment import Variant, run_experiment, with_alarms
from ranker.leaks import Alarm
from ranker.left_out import Found, LeftOutReport

START = datetime(2026, 3, 1, tzinfo=UTC)
FEATURES = (
    Feature("item_age_h", "Float32", "context", "age", "given"),
    Feature("item_popularity", "Float32", "context", "popularity", "given"),
    Feature("history_size", "UInt32", "match", "size", "given"),
    Feature("match_max", "Float32", "match", "nearest", "given"),
)


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    num = 600
    nearest = rng.normal(size=num)
    frame = pl.DataFrame(
        {
            "request_id": [f"r{n // 6}" for n in range(num)],
            "user_id": [f"u{n // 6 % 9}" for n in range(num)],
            "item_id": [f"i{n}" for n in range(num)],
            "ts": [START + timedelta(hours=n // 6) for n in range(num)],
            "relevance": (nearest + rng.normal(size=num) > 1).astype(np.int32),
            "item_age_h": rng.uniform(0, 400, num).astype(np.float32),
            "item_popularity": rng.random(num).astype(np.float32),
            "history_size": rng.integers(0, 20, num).astype(np.uint32),
            "match_max": nearest.astype(np.float32),
        }
    )
    table = FeatureTable(frame, FEATURES, Centring("v1", (0.0,), ()), {})
    return run_experiment(
        table,
        split=TimeSplit(at=START + timedelta(hours=70)),
        variants={
            "context": Variant(groups=("context",)),
            "<b>all</b>": Variant(groups=("context", "match")),
        },
        config=RankerConfig(num_rounds=5, num_members=1),
        num_seeds=2,
        num_resamples=20,
    )


def test_the_page_holds_the_numbers_and_needs_nothing_else(report, tmp_path):
    text = write_experiment(report, tmp_path).read_text()
    gained = report.overall.differences["<b>all</b>"]["gauc"]
    assert gained.low > 0
    assert f"{gained.mean:+.3f}" in text
    assert "item popularity: decile 01" in text
    assert text.count("<svg") == 3 + 2 + 2  # gains, importances, contributions; two of each variant
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text


def test_names_are_escaped(report, tmp_path):
    assert "<b>all</b>" not in write_experiment(report, tmp_path).read_text()


def test_equal_reports_give_equal_bytes(report, tmp_path):
    first = write_experiment(report, tmp_path / "a").read_bytes()
    assert write_experiment(report, tmp_path / "b").read_bytes() == first


def test_an_alarm_is_told_first(report, tmp_path):
    assert "No alarm" in write_experiment(report, tmp_path).read_text()
    alarm = Alarm(kind="clock", features=["match_max"], says="it knows of later events")
    loud = with_alarms(report, [alarm], shifted_features=["is_repeat"])
    text = write_experiment(loud, tmp_path).read_text()
    assert "No alarm" not in text
    assert text.index("it knows of later events") < text.index("<h2>Variants")
    assert "the alarm names\n  is_repeat." in text


def test_scores_of_others_are_a_row_without_calibration(report, tmp_path):
    metrics = report.overall.metrics | {"theirs": report.overall.metrics["context"]}
    gained = report.overall.differences | {"theirs": report.overall.differences["<b>all</b>"]}
    overall = replace(report.overall, metrics=metrics, differences=gained)
    text = write_experiment(replace(report, overall=overall), tmp_path).read_text()
    assert "<td>theirs</td>" in text
    assert "<td>theirs \N{MINUS SIGN} context</td>" in text


def left_out(known, hit):
    """A report of two rankers and a floor."""
    rows = {"popularity": 0.01, "context": 0.02, "<b>all</b>": hit}
    metrics = {
        name: {m: Interval(value, value - 0.01, value + 0.01) for m in ("hit@10", "ndcg@10")}
        for name, value in rows.items()
    }
    gains = {"<b>all</b>": {m: Interval(0.05, 0.01, 0.09) for m in ("hit@10", "ndcg@10")}}
    found = Found(
        num_users=90,
        in_stage_one=Interval(0.567, 0.5, 0.6),
        metrics=metrics,
        differences=gains,
    )
    sizes = {"num_users": 90, "num_candidates": 500, "num_recalled": 300.4, "num_seeds": 1}
    return LeftOutReport(
        known=known,
        min_rating=3.5,
        model_version="v1",
        schema_hash="h",
        num_train_rows=9,
        num_train_requests=3,
        num_trees={"context": 5, "<b>all</b>": 5},
        metrics=metrics,
        differences=gains,
        found={"all": found, "liked by nobody yet": found},
        importances={"match_max": 1.0},
        alarms=[Alarm(kind="clock", features=["x"], says="it knows of later events")],
        **sizes,
    )


def test_a_log_of_ratings_has_a_table_for_each_rule(tmp_path):
    report = RatingsExperiment(as_of=left_out("as_of", 0.071), all_known=left_out("all", 0.123))
    text = write_ratings_experiment(report, tmp_path).read_text()
    first, second = text.split("<h2>Everything known")
    assert "As of the request" in first
    told = {hit: f'<td class="num">{hit}<br>' for hit in ("0.071", "0.123")}
    assert first.count(told["0.071"]) == second.count(told["0.123"]) == 4  # two metrics, two slices
    assert told["0.123"] not in first
    assert text.count("<svg") == 2
    assert text.count("it knows of later events") == 2
    assert "Stage one gives 300 items" in text
    assert ".567" in text
    assert "<b>all</b>" not in text
    assert "<script" not in text
