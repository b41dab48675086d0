"""Scores of somebody else beside the rankers of an experiment."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.time_split import TimeSplit
from ponder.steps.experiment import given_scores
from ranker.config import RankerConfig
from ranker.experiment import run_experiment

KEYS = ["request_id", "user_id", "item_id"]


def test_scores_are_read_in_whatever_order(preference_table, tmp_path):
    keys = preference_table.frame.select(KEYS)
    told = keys.with_columns(score=pl.int_range(pl.len()))
    told.sample(fraction=1, shuffle=True, seed=0).write_parquet(tmp_path / "s.parquet")
    name, score_N = given_scores(f"theirs={tmp_path / 's.parquet'}", preference_table)
    assert name == "theirs"
    assert score_N.tolist() == list(range(len(keys)))


@pytest.mark.parametrize("rows", [slice(1, None), [0, *range(4000)]])
def test_a_row_without_a_score_or_with_two_is_refused(preference_table, tmp_path, rows):
    told = preference_table.frame.select(KEYS).with_columns(score=pl.lit(1.0))[rows]
    told.write_parquet(tmp_path / "s.parquet")
    with pytest.raises(ValueError, match=r"got none or several for 1 of 4000"):
        given_scores(f"theirs={tmp_path / 's.parquet'}", preference_table)


def test_what_is_no_file_of_scores_is_refused(preference_table, tmp_path):
    with pytest.raises(ValueError, match=r"must be NAME=FILE\.parquet"):
        given_scores(f"theirs={tmp_path / 'none.parquet'}", preference_table)


def test_given_scores_are_measured_on_the_test_alone(preference_table):
    """Scores that are right after the split and wrong before it are as good as can be."""
    at = preference_table.frame["ts"].min() + timedelta(hours=300)
    right_N = preference_table.frame["relevance"].to_numpy().astype(np.float64)
    is_test_N = (preference_table.frame["ts"] >= at).to_numpy()
    report = run_experiment(
        preference_table,
        split=TimeSplit(at=at),
        given={"oracle": np.where(is_test_N, right_N, -right_N)},
        config=RankerConfig(num_rounds=5, num_members=1),
        num_resamples=20,
    )
    assert report.overall.metrics["oracle"]["ndcg@10"].mean == 1
    assert report.overall.differences["oracle"]["gauc"].low > 0
    assert list(report.variants) == ["without match", "with match"]
