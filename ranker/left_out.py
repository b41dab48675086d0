"""Rankers with and without match features on each user's left-out last item.

The test of logs without pages: the item is to be found among everything that its user has not
seen (`evaluation.leave_last_out`).

Shape legend: U = users, N = rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from evaluation.bootstrap import Interval, bootstrap_difference, bootstrap_mean
from evaluation.leave_last_out import held_out_requests, leave_last_out
from evaluation.metrics import measure
from evaluation.rankings import Rankings
from features.centred_embeddings import CentredEmbeddings, Centring
from features.cooccurrence import cooccurrence
from features.log import Log
from features.table import FeatureTable, build_features
from ranker.config import RankerConfig
from ranker.experiment import VARIANTS
from ranker.model import Ranker
from ranker.training import train

METRICS = ("hit@10", "ndcg@10")
USERS_AT_ONCE = 40  # each of them is scored on the whole catalogue


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOutReport:
    """How the variants rank the left-out items. Intervals draw users."""

    protocol: Literal["leave_last_out"] = "leave_last_out"
    model_version: str
    schema_hash: str
    num_users: int
    num_candidates: int
    num_train_rows: int
    num_train_requests: int

    num_trees: dict[str, int]
    """Variant -> trees of all members."""

    metrics: dict[str, dict[str, Interval]]
    """Variant -> metric -> mean over the users."""

    differences: dict[str, dict[str, Interval]]
    """The same minus the first variant, user by user; the first is not in it."""

    importances: dict[str, float]
    """Share of the gain by feature, in the last variant."""


def evaluate_left_out(
    log: Log,
    table: FeatureTable,
    *,
    config: RankerConfig | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> LeftOutReport:
    """Train each variant and measure where it ranks every user's left-out item.

    Args:
        log: what the table was made from.
        table: of the training requests, as of `ranker.training_table.training_table`.
        config: of every variant; the defaults when None.
        seed: of the intervals.
        progress: told how many more users were ranked for.
    """
    rankers = {
        name: train(table, feature_groups=variant.groups, config=config)
        for name, variant in VARIANTS.items()
    }
    ranks = held_out_ranks(log, table.centring, rankers, progress)
    values = {name: measure(Rankings.of_places(rank_U), METRICS) for name, rank_U in ranks.items()}
    baseline, *others = values
    last = list(rankers.values())[-1]
    return LeftOutReport(
        model_version=table.model_version,
        schema_hash=table.schema_hash,
        num_users=len(ranks[baseline]),
        num_candidates=len(log.candidates),
        num_train_rows=len(table.frame),
        num_train_requests=table.num_requests,
        num_trees={name: ranker.num_trees for name, ranker in rankers.items()},
        metrics={
            name: {m: bootstrap_mean(scores[m], seed=seed) for m in METRICS}
            for name, scores in values.items()
        },
        differences={
            name: {
                m: bootstrap_difference(values[name][m], values[baseline][m], seed=seed)
                for m in METRICS
            }
            for name in others
        },
        importances=last.importances(),
    )


def held_out_ranks(
    log: Log,
    centring: Centring,
    rankers: Mapping[str, Ranker],
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, np.ndarray]:
    """Rank every user's held-out item by each ranker, from 1; ties go to the smaller id.

    Args:
        log: whose last liked items are held out.
        centring: of all these rankers.
        rankers: by name.
        progress: told how many more users were ranked for.

    Returns:
        By name of the ranker [U] ranks, in order of user ids.
    """
    train_events, held_out = leave_last_out(log.events, candidate_items=log.candidates)
    centred = CentredEmbeddings.of(log.vectors, centring)
    counts = cooccurrence(train_events)
    ranks: dict[str, list[np.ndarray]] = {name: [] for name in rankers}
    for start in range(0, len(held_out), USERS_AT_ONCE):
        users = held_out.slice(start, USERS_AT_ONCE)
        requests = held_out_requests(users, train_events, candidate_items=log.candidates)
        asked = build_features(
            requests, train_events, log.items, log.vectors, centred=centred, counts=counts
        )
        for name, ranker in rankers.items():
            ranks[name].append(_rank_of_relevant(asked.frame, ranker.predict(asked)))
        progress(len(users))
    return {name: np.concatenate(parts) for name, parts in ranks.items()}


def _rank_of_relevant(frame: pl.DataFrame, score_N: np.ndarray) -> np.ndarray:
    scored = frame.select("request_id", "item_id", "relevance").with_columns(
        score=pl.Series(score_N)
    )
    ranked = scored.sort(
        ["request_id", "score", "item_id"], descending=[False, True, False]
    ).with_columns(rank=pl.int_range(1, pl.len() + 1).over("request_id"))
    return ranked.filter(pl.col("relevance") == 1)["rank"].to_numpy()
