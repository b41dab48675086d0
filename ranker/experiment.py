"""What a group of features is worth: the same split, trained without it and with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from evaluation.scorings import Evaluation, evaluate_scorings
from evaluation.time_split import TimeSplit, split_by_time
from features.schema import FeatureGroup
from features.table import FeatureTable
from ranker.config import RankerConfig
from ranker.model import Ranker
from ranker.training import train

FEATURE_GROUPS: Mapping[str, Sequence[FeatureGroup]] = {
    "without match": ("context",),
    "with match": ("context", "match"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentReport:
    """The outcome of one experiment."""

    protocol: Literal["impressions"] = "impressions"

    feature_groups: dict[str, list[str]]
    """Variant -> feature groups; the first variant is the baseline of every difference."""

    model_version: str
    schema_hash: str
    split_at: str
    seed: int
    num_train_rows: int
    num_train_requests: int

    num_trees: dict[str, int]
    """Variant -> trees kept by early stopping."""

    overall: Evaluation

    slices: dict[str, dict[str, Evaluation]]
    """What is sliced by -> slice -> evaluation of its rows alone; empty slices are left out."""

    importances: dict[str, float]
    """Share of the gain by feature, in the last variant."""


def run_experiment(
    table: FeatureTable,
    *,
    split: TimeSplit,
    feature_groups: Mapping[str, Sequence[FeatureGroup]] = FEATURE_GROUPS,
    config: RankerConfig | None = None,
    num_resamples: int = 500,
    seed: int = 0,
) -> ExperimentReport:
    """Train each variant before the split and compare them after it.

    Args:
        table: with `relevance`.
        split: when the test begins.
        feature_groups: variant -> feature groups, the baseline first.
        config: of every variant; the defaults when None. Its seed is kept.
        num_resamples: of the intervals.
        seed: of the intervals.
    """
    train_frame, test_frame = split_by_time(table.frame, split)
    train_table = table.with_frame(train_frame)
    test_table = table.with_frame(test_frame)
    rankers: dict[str, Ranker] = {
        name: train(train_table, feature_groups=groups, config=config)
        for name, groups in feature_groups.items()
    }
    scores = {name: ranker.predict(test_table) for name, ranker in rankers.items()}
    last = list(rankers.values())[-1]
    return ExperimentReport(
        feature_groups={name: list(groups) for name, groups in feature_groups.items()},
        model_version=table.model_version,
        schema_hash=table.schema_hash,
        split_at=split.at.isoformat(),
        seed=seed,
        num_train_rows=len(train_frame),
        num_train_requests=train_table.num_requests,
        num_trees={name: ranker.booster.num_trees() for name, ranker in rankers.items()},
        overall=evaluate_scorings(test_frame, scores, num_resamples=num_resamples, seed=seed),
        slices=_slices(test_frame, scores, num_resamples=num_resamples, seed=seed),
        importances=last.importances(),
    )


def _slices(
    frame: pl.DataFrame, scores: Mapping[str, np.ndarray], *, num_resamples: int, seed: int
) -> dict[str, dict[str, Evaluation]]:
    """Evaluate parts of the rows; in an item slice a request keeps only its items of it."""
    report: dict[str, dict[str, Evaluation]] = {}
    for name, labels in _slice_labels(frame).items():
        report[name] = {}
        for label in labels.drop_nulls().unique().sort():
            here = (labels == label).fill_null(False)
            report[name][label] = evaluate_scorings(
                frame.filter(here),
                {variant: score[here.to_numpy()] for variant, score in scores.items()},
                num_resamples=num_resamples,
                seed=seed,
            )
    return report


def _slice_labels(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return by slicing the label of each row; null for a row in none of its slices."""
    age_h, size = pl.col("item_age_h"), pl.col("history_size")
    popularity = pl.col("item_popularity").rank("average") / pl.len()
    labels = frame.select(
        item_age=pl.when(age_h < 24)
        .then(pl.lit("< 24 h"))
        .when(age_h < 7 * 24)
        .then(pl.lit("< 7 d"))
        .when(age_h >= 7 * 24)
        .then(pl.lit(">= 7 d")),
        item_popularity=pl.when(popularity <= 1 / 3)
        .then(pl.lit("1 lowest third"))
        .when(popularity <= 2 / 3)
        .then(pl.lit("2 middle third"))
        .otherwise(pl.lit("3 highest third")),
        history_size=pl.when(size == 0)
        .then(pl.lit("0"))
        .when(size < 10)
        .then(pl.lit("1 to 9"))
        .otherwise(pl.lit("10 or more")),
    )
    return labels.to_dict()
