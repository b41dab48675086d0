"""Rankers with and without match features on each user's left-out last item.

The test of logs without pages: the item is to be found among everything that its user has not
seen, by two stages. Stage one gives some hundreds of candidates (`ranker.stage_one`), the ranker
puts them in order; an item that stage one loses is not found.

Shape legend: U = users, N = rows, S = seeds.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import polars as pl

from evaluation.bootstrap import Interval, bootstrap_difference, bootstrap_mean
from evaluation.metrics import measure
from evaluation.rankings import Rankings
from features.daily_sums import days_of
from features.schema import groups_of
from features.table import FeatureTable
from ranker.config import RankerConfig
from ranker.experiment import Variant, mean_importances, variants_of
from ranker.floors import floor_ranks
from ranker.leaks import Alarm, clock_alarm, too_good
from ranker.model import Ranker
from ranker.rating_log import Known, RatingLog, Requests
from ranker.training import train

METRICS = ("hit@10", "ndcg@10")

REPLAYED_REQUESTS = 3
"""Whose features are made again without what came later; everybody's likes are counted for each."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """How rankings find the left-out items of some users. Intervals draw users."""

    num_users: int

    in_stage_one: Interval
    """Share of the users whose item stage one gave: no ranker can find more of them."""

    metrics: dict[str, dict[str, Interval]]
    """Floor or variant -> metric -> mean over the users."""

    differences: dict[str, dict[str, Interval]]
    """The variants minus the first of them, user by user; the first is not in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOutReport:
    """How floors and variants rank the left-out items, all under one rule."""

    protocol: Literal["leave_last_out"] = "leave_last_out"

    known: Known
    """`as_of`: nothing later than the request. `all`: everybody's likes, but the answers."""

    min_rating: float
    """Ratings from this on are liked."""

    model_version: str
    schema_hash: str
    num_users: int

    num_candidates: int
    """Items that may be recommended."""

    num_recalled: float
    """Of them, that stage one gives for a request, on average."""

    num_train_rows: int
    num_train_requests: int
    num_seeds: int

    num_trees: dict[str, int]
    """Variant -> trees of all members of one seed."""

    metrics: dict[str, dict[str, Interval]]
    """Floor or variant -> metric -> mean over all users. Floors rank the whole catalogue."""

    differences: dict[str, dict[str, Interval]]
    """The variants minus the first of them, user by user; the first is not in it."""

    found: dict[str, Found]
    """The same of all users, and by how many users were known to like the item."""

    importances: dict[str, float]
    """Share of the gain by feature, in the last variant, mean of the seeds."""

    alarms: list[Alarm]
    """What is too good to be true; empty when nothing is."""


def evaluate_left_out(
    rated: RatingLog,
    table: FeatureTable,
    *,
    variants: Mapping[str, Variant] | None = None,
    config: RankerConfig | None = None,
    num_seeds: int = 1,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> LeftOutReport:
    """Train each variant and measure where it ranks every user's left-out item.

    Args:
        rated: the log, under its rules.
        table: of its training requests.
        variants: what each ranker is given, the baseline first; those of `variants_of` when None.
        config: of every variant; the defaults when None.
        num_seeds: rankers of each variant, S; a user's metrics are their means.
        seed: of the intervals.
        progress: told how many more rankers were trained.
    """
    variants = variants or variants_of(groups_of(table.features))
    rankers: dict[str, list[Ranker]] = {name: [] for name in variants}
    config = config or RankerConfig()
    for name, variant in variants.items():
        for number in range(num_seeds):
            seeded = replace(config, seed=config.seed + 100 * config.num_members * number)
            rankers[name].append(train(table, feature_groups=variant.groups, config=seeded))
            progress(1)
    asked = rated.test()
    by_seed = held_out_ranks(
        rated,
        asked,
        {(name, n): one for name, made in rankers.items() for n, one in enumerate(made)},
    )
    values = {
        name: measure(Rankings.of_places(r), METRICS) for name, r in floor_ranks(rated).items()
    }
    for name in variants:
        of_seeds = [
            measure(Rankings.of_places(by_seed[name, n]), METRICS) for n in range(num_seeds)
        ]
        values[name] = {m: np.mean([one[m] for one in of_seeds], axis=0) for m in METRICS}
    recalled_U = np.isfinite(by_seed[next(iter(by_seed))])
    names = tuple(variants)
    found = {
        label: _found(values, names, recalled_U, is_here_U, seed)
        for label, is_here_U in _slices(rated, asked).items()
        if is_here_U.any()
    }
    last = rankers[names[-1]]
    return LeftOutReport(
        known=rated.rules.known,
        min_rating=rated.rules.min_rating,
        model_version=table.model_version,
        schema_hash=table.schema_hash,
        num_users=len(asked.asked),
        num_candidates=rated.candidates.n_unique(),
        num_recalled=asked.num_candidates,
        num_train_rows=len(table.frame),
        num_train_requests=table.num_requests,
        num_seeds=num_seeds,
        num_trees={name: made[0].num_trees for name, made in rankers.items()},
        metrics=found["all"].metrics,
        differences=found["all"].differences,
        found=found,
        importances=mean_importances(last),
        alarms=too_good(table) + _clock_alarm(rated, table, seed),
    )


def _clock_alarm(rated: RatingLog, table: FeatureTable, seed: int) -> list[Alarm]:
    """Look for what came later, where nothing later may be known."""
    if rated.rules.known == "all":
        return []
    known = replace(rated.log, events=rated.events)
    return clock_alarm(
        known, table, num_requests=REPLAYED_REQUESTS, config=rated.features, seed=seed
    )


def held_out_ranks(
    rated: RatingLog, asked: Requests, rankers: Mapping[Name, Ranker]
) -> dict[Name, np.ndarray]:
    """Rank every user's held-out item by each ranker, from 1; ties go to the smaller id.

    Args:
        rated: the log whose items are held out, with the groups of features of all rankers.
        asked: its test.
        rankers: by name.

    Returns:
        By name [U] float64 ranks, in order of user ids; infinity where stage one lost the item.
    """
    tables: dict[Hashable, FeatureTable] = {}
    ranks: dict[Name, np.ndarray] = {}
    for name, ranker in rankers.items():
        read = ranker.centring.id, ranker.groups
        if read not in tables:
            tables[read] = rated.table(asked, ranker.centring, groups=ranker.groups)
        table = tables[read]
        found = _ranks_of_relevant(table.frame, ranker.predict(table))
        placed = asked.asked.select("request_id").join(
            found, on="request_id", how="left", maintain_order="left"
        )
        ranks[name] = placed["rank"].cast(pl.Float64).fill_null(float("inf")).to_numpy()
    return ranks


def _ranks_of_relevant(frame: pl.DataFrame, score_N: np.ndarray) -> pl.DataFrame:
    """Return request_id and rank of each request's relevant item."""
    scored = frame.select("request_id", "item_id", "relevance").with_columns(
        score=pl.Series(score_N)
    )
    ranked = scored.sort(
        ["request_id", "score", "item_id"], descending=[False, True, False]
    ).with_columns(rank=pl.int_range(1, pl.len() + 1).over("request_id"))
    return ranked.filter(pl.col("relevance") == 1).select("request_id", "rank")


def _slices(rated: RatingLog, asked: Requests) -> dict[str, np.ndarray]:
    """Return [U] by slice whether the user's item belongs to it."""
    counts, answers = asked.counts, asked.asked
    row_U = counts.rows_of(answers["item_id"])
    known_U = counts.users(np.maximum(row_U, 0), days_of(answers["ts"])) * (row_U >= 0)
    return {
        "all": np.ones(len(answers), dtype=bool),
        "liked by nobody yet": known_U == 0,
        "liked by 1 to 9": (known_U >= 1) & (known_U < 10),
        "liked by 10 or more": known_U >= 10,
    }


def _found(
    values: Mapping[str, Mapping[str, np.ndarray]],
    variants: tuple[str, ...],
    recalled_U: np.ndarray,
    is_here_U: np.ndarray,
    seed: int,
) -> Found:
    baseline, *others = variants
    return Found(
        num_users=int(is_here_U.sum()),
        in_stage_one=bootstrap_mean(recalled_U[is_here_U].astype(np.float64), seed=seed),
        metrics={
            name: {m: bootstrap_mean(scores[m][is_here_U], seed=seed) for m in METRICS}
            for name, scores in values.items()
        },
        differences={
            name: {
                m: bootstrap_difference(
                    values[name][m][is_here_U], values[baseline][m][is_here_U], seed=seed
                )
                for m in METRICS
            }
            for name in others
        },
    )
