"""What features and spaces are worth: the same split, trained with several seeds for each variant.

Shape legend: S = seeds, N = rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from evaluation.calibration import Calibration, Platt, calibration
from evaluation.scorings import Evaluation, evaluate_scorings
from evaluation.time_split import TimeSplit, split_by_time
from features.groups import VECTOR_GROUPS, FeatureGroup
from features.requests import REQUEST_KEY
from features.schema import groups_of, names_of
from features.table import KEY_COLUMNS, FeatureTable
from ranker.config import RankerConfig
from ranker.leaks import Alarm, Controls, shuffled_alarm, too_good, with_features_of_others
from ranker.learning_curve import CurvePoint, learning_curve
from ranker.model import Ranker
from ranker.training import train

EXPLAINED_ROWS = 2_000
"""Rows over which contributions are averaged: Tree SHAP takes a thousand times a prediction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """What one ranker of an experiment is given."""

    groups: tuple[FeatureGroup, ...]
    """Feature groups."""

    space: str = "content"
    """Name of the table, where there are several: which vectors its features compare."""


ITEM_SLICINGS = ("item_age", "item_popularity")
"""What items are sliced by; the other slicings are of requests."""


def variants_of(groups: Sequence[FeatureGroup]) -> dict[str, Variant]:
    """Return what is compared unless somebody asks otherwise: without the vectors, and all."""
    without = tuple(group for group in groups if group not in VECTOR_GROUPS)
    return {"without match": Variant(groups=without), "with match": Variant(groups=tuple(groups))}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentReport:
    """The outcome of one experiment."""

    protocol: Literal["impressions"] = "impressions"

    variants: dict[str, Variant]
    """The first is the baseline of every difference. Scores that were given are not among them, and
    evaluated all the same."""

    model_version: str
    """Embedder of the last variant's vectors."""

    spaces: dict[str, str]
    """Space -> embedder version."""

    schema_hash: str
    split_at: str
    seed: int
    num_seeds: int
    num_train_rows: int
    num_train_requests: int

    num_trees: dict[str, int]
    """Variant -> trees of all members of one seed."""

    overall: Evaluation

    slices: dict[str, dict[str, Evaluation]]
    """What is sliced by -> slice -> evaluation; empty slices are left out. Of a slice of requests,
    of its rows alone; of items, of each comparison between a liked and another one of a request in
    which one of the two is of the slice."""

    calibration: dict[str, Calibration]
    """Variant -> how good its probabilities are: scores through a mapping fitted on the training
    rows. Of the first seed."""

    importances: dict[str, float]
    """Share of the gain by feature, in the last variant, mean of the seeds."""

    contributions: dict[str, float]
    """Mean absolute contribution (Tree SHAP) to a score of the test, by feature; last variant."""

    curves: dict[str, list[CurvePoint]]
    """Variant -> ndcg@10 by number of trees, on both sides of the split. Of the first seed."""

    alarms: list[Alarm]
    """What is too good to be true; empty when nothing is."""

    controls: Controls


def run_experiment(
    tables: FeatureTable | Mapping[str, FeatureTable],
    *,
    split: TimeSplit,
    variants: Mapping[str, Variant] | None = None,
    given: Mapping[str, np.ndarray] | None = None,
    config: RankerConfig | None = None,
    num_seeds: int = 1,
    num_resamples: int = 500,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> ExperimentReport:
    """Train each variant before the split and compare them after it.

    Args:
        tables: with `relevance`; by the names of their spaces, or one alone. All hold the same
            requests and items.
        split: when the test begins.
        variants: what each ranker is given, the baseline first; those of `variants_of` when None.
        given: [N] scores of all rows that somebody else made, by name; compared like a variant.
        config: of every variant; the defaults when None. Seeds count from its own.
        num_seeds: rankers of each variant, S; intervals draw among them, too.
        num_resamples: of the intervals.
        seed: of the intervals.
        progress: told how many more rankers were trained.

    Raises:
        ValueError: a variant names no table, or two tables hold other rows.
    """
    by_space = {"content": tables} if isinstance(tables, FeatureTable) else dict(tables)
    variants = variants or variants_of(groups_of(next(iter(by_space.values())).features))
    _check(by_space, variants)
    config = config or RankerConfig()
    sides = {space: _sides(table, split) for space, table in by_space.items()}
    rankers = {
        name: _trained(sides[variant.space][0], variant, config, num_seeds, progress)
        for name, variant in variants.items()
    }
    scores = {
        name: np.stack([ranker.predict(sides[variant.space][1]) for ranker in rankers[name]])
        for name, variant in variants.items()
    }
    is_test_N = (next(iter(by_space.values())).frame["ts"] >= split.at).to_numpy()
    scores |= {
        name: np.tile(score_N[is_test_N], (num_seeds, 1)) for name, score_N in (given or {}).items()
    }
    last_name, last = list(variants.items())[-1]
    train_table, test_table = sides[last.space]
    draws = {"num_resamples": num_resamples, "seed": seed}
    overall = evaluate_scorings(test_table.frame, scores, **draws)
    alarms, controls = _alarms(sides[last.space], list(variants.values()), config, scores, **draws)
    return ExperimentReport(
        variants=dict(variants),
        model_version=by_space[last.space].model_version,
        spaces={space: table.model_version for space, table in by_space.items()},
        schema_hash=by_space[last.space].schema_hash,
        split_at=split.at.isoformat(),
        seed=seed,
        num_seeds=num_seeds,
        num_train_rows=len(train_table.frame),
        num_train_requests=train_table.num_requests,
        num_trees={name: made[0].num_trees for name, made in rankers.items()},
        overall=overall,
        slices=_slices(test_table.frame, scores, **draws),
        calibration=_calibrations(sides, variants, rankers, scores, **draws),
        importances=mean_importances(rankers[last_name]),
        contributions=_contributions(rankers[last_name][0], test_table),
        curves={
            name: learning_curve(rankers[name][0], *sides[variant.space])
            for name, variant in variants.items()
        },
        alarms=alarms,
        controls=controls,
    )


def _check(tables: Mapping[str, FeatureTable], variants: Mapping[str, Variant]) -> None:
    if unknown := sorted({v.space for v in variants.values()} - set(tables)):
        raise ValueError(f"variants must name spaces of {sorted(tables)}, got {unknown}")
    first, *others = [table.frame.select(KEY_COLUMNS) for table in tables.values()]
    if not all(first.equals(other) for other in others):
        raise ValueError(
            f"the tables of {sorted(tables)} must hold the same requests and items in one order; "
            "export all of them from the same log"
        )


def _sides(table: FeatureTable, split: TimeSplit) -> tuple[FeatureTable, FeatureTable]:
    before, after = split_by_time(table.frame, split)
    return table.with_frame(before), table.with_frame(after)


def _trained(
    table: FeatureTable,
    variant: Variant,
    config: RankerConfig,
    num_seeds: int,
    progress: Callable[[int], None],
) -> list[Ranker]:
    made = []
    for number in range(num_seeds):
        seeded = replace(config, seed=config.seed + 100 * config.num_members * number)
        made.append(train(table, feature_groups=variant.groups, config=seeded))
        progress(1)
    return made


def _calibrations(
    sides: Mapping[str, tuple[FeatureTable, FeatureTable]],
    variants: Mapping[str, Variant],
    rankers: Mapping[str, list[Ranker]],
    scores: Mapping[str, np.ndarray],
    *,
    num_resamples: int,
    seed: int,
) -> dict[str, Calibration]:
    found: dict[str, Calibration] = {}
    baseline_N = None
    for name, variant in variants.items():
        before, after = sides[variant.space]
        mapping = Platt.fitted(
            rankers[name][0].predict(before), before.frame["relevance"].to_numpy() >= 1
        )
        probability_N = mapping.probabilities(scores[name][0])
        found[name] = calibration(
            probability_N,
            after.frame["relevance"].to_numpy() >= 1,
            after.frame["user_id"].to_numpy(),
            baseline_N=baseline_N,
            num_resamples=num_resamples,
            seed=seed,
        )
        baseline_N = probability_N if baseline_N is None else baseline_N
    return found


def _alarms(
    sides: tuple[FeatureTable, FeatureTable],
    variants: Sequence[Variant],
    config: RankerConfig,
    scores: Mapping[str, np.ndarray],
    *,
    num_resamples: int,
    seed: int,
) -> tuple[list[Alarm], Controls]:
    """Look for what is too good to be true, and train once more on features of other requests."""
    _, after = sides
    base, last = variants[0], variants[-1]
    added = [group for group in last.groups if group not in base.groups] or list(last.groups)
    names = names_of(after.features, added)
    blind = [with_features_of_others(side, names, seed=seed) for side in sides]
    ranker = train(blind[0], feature_groups=last.groups, config=config)
    compared = {"base": next(iter(scores.values()))[0], "blind": ranker.predict(blind[1])}
    found = evaluate_scorings(after.frame, compared, num_resamples=num_resamples, seed=seed)
    gain = found.differences["blind"]["gauc"]
    alarms = too_good(after) + shuffled_alarm(gain, names)
    return alarms, Controls(shuffled_gain=gain, shifted_features=None)


def mean_importances(rankers: Sequence[Ranker]) -> dict[str, float]:
    """Return each feature's share of the gain, mean of the rankers; largest first, ties by name."""
    shares = [ranker.importances() for ranker in rankers]
    means = {name: float(np.mean([one[name] for one in shares])) for name in shares[0]}
    return dict(sorted(means.items(), key=lambda pair: (-pair[1], pair[0])))


def _contributions(ranker: Ranker, table: FeatureTable) -> dict[str, float]:
    part_NF = ranker.contributions(table.with_frame(table.frame.head(EXPLAINED_ROWS)))
    means = np.abs(part_NF[:, :-1]).mean(axis=0)
    pairs = zip(ranker.feature_names, map(float, means), strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _slices(
    frame: pl.DataFrame, scores: Mapping[str, np.ndarray], *, num_resamples: int, seed: int
) -> dict[str, dict[str, Evaluation]]:
    """Evaluate parts of the rows, and of items the comparisons that they take part in."""
    report: dict[str, dict[str, Evaluation]] = {}
    for name, labels in _slice_labels(frame).items():
        report[name] = {}
        for label in labels.drop_nulls().unique().sort():
            here = (labels == label).fill_null(False)
            asked = _compared(frame, here) if name in ITEM_SLICINGS else _rows(frame, here)
            if asked.is_empty():
                continue
            row_N = asked["row"].to_numpy()
            report[name][label] = evaluate_scorings(
                asked,
                {variant: score_SN[:, row_N] for variant, score_SN in scores.items()},
                num_resamples=num_resamples,
                seed=seed,
            )
    return report


def _rows(frame: pl.DataFrame, here: pl.Series) -> pl.DataFrame:
    return frame.with_row_index("row").filter(here)


def _compared(frame: pl.DataFrame, here: pl.Series) -> pl.DataFrame:
    """Return the items of a slice beside what each is compared with: two groups of a request.

    Its liked ones among all that was not liked, and all other liked ones among its that were not.
    Few requests show two items younger than a day, so of these alone no order could be asked; and
    of the first group alone a ranker would be right that puts whatever is new on top.
    """
    is_liked = frame["relevance"] >= 1
    groups = {"its liked": here & is_liked | ~is_liked, "others liked": here ^ is_liked}
    rows = frame.with_row_index("row").with_columns(is_here=here, is_liked=is_liked)
    parts = [
        rows.filter(chosen).with_columns(pl.col("request_id") + f" {name}")
        for name, chosen in groups.items()
    ]
    telling = pl.col("is_liked").any() & ~pl.col("is_liked").all()
    return pl.concat(parts).filter(telling.over(REQUEST_KEY)).drop("is_here", "is_liked")


def _slice_labels(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return by slicing the label of each row; null for a row in none of its slices."""
    age_h, size = pl.col("item_age_h"), pl.col("history_size")
    decile = (pl.col("item_popularity").rank("average") * 10 / pl.len()).ceil().clip(1, 10)
    labels = {
        "item_age": pl.when(age_h < 24)
        .then(pl.lit("< 24 h"))
        .when(age_h < 7 * 24)
        .then(pl.lit("< 7 d"))
        .when(age_h >= 7 * 24)
        .then(pl.lit(">= 7 d")),
        "item_popularity": "decile " + decile.cast(pl.Int32).cast(pl.String).str.zfill(2),
        "history_size": pl.when(size == 0)
        .then(pl.lit("0"))
        .when(size < 10)
        .then(pl.lit("1 to 9"))
        .otherwise(pl.lit("10 or more")),
    }
    return frame.select(**labels).to_dict()


def with_alarms(
    report: ExperimentReport, alarms: Sequence[Alarm], *, shifted_features: list[str] | None
) -> ExperimentReport:
    """Return the report with what was found with the log at hand."""
    controls = replace(report.controls, shifted_features=shifted_features)
    return replace(report, alarms=[*report.alarms, *alarms], controls=controls)
