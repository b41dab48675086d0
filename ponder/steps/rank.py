"""Train rankers on the lake: which requests they learn from, and how they are measured.

Two kinds of event logs are known. One with impressions shows what was on each page, so a request is
a page, and the newest fifth of the pages is the test. One without (ratings) shows only what was
chosen; a request is then a choice among sampled unseen items, and the test is leave-last-out: each
user's last item among everything they have not seen.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from catalog.lake.tables import EVENTS, ITEMS
from evaluation.bootstrap import bootstrap_gains, bootstrap_mean
from evaluation.leave_last_out import held_out_requests, leave_last_out, training_requests
from evaluation.metrics import measure
from evaluation.rankings import Rankings
from evaluation.time_split import TimeSplit
from features.centred_embeddings import CentredEmbeddings, history_pairs
from features.export import read_export
from features.histories import histories, requests_of
from features.impressions import impressions_from_events
from features.log import Log
from features.table import FeatureTable, build_features
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.saved_reports import write_report
from ponder.wiring import configured_version, known_vectors, open_lake
from ranker.config import RankerConfig
from ranker.experiment import FEATURE_GROUPS, run_experiment
from ranker.model import Ranker
from ranker.saved import save_ranker
from ranker.training import train

logger = logging.getLogger(__name__)

USERS_AT_ONCE = 40  # of a leave-last-out test, whose every user is scored on the whole catalogue
TEST_SHARE = 0.2


def train_ranker(
    settings: Settings, *, seed: int = 0, progress: Progress = ignore_progress
) -> dict[str, Any]:
    """Train rankers with and without match features on the export, compare them and keep one.

    The comparison goes to `ranking.json` in the reports folder; the ranker that is kept is trained
    on all requests, the test's as well.
    """
    table = read_export(settings.features_folder)
    report = evaluate_rankers(read_log(settings), table, seed=seed, progress=progress)
    save_ranker(train(table), settings.ranker_folder)
    write_report(settings, "ranking", report)
    return report


def read_log(settings: Settings) -> Log:
    """Return what a ranker of the deployment may learn from."""
    lake = open_lake(settings)
    vectors = known_vectors(lake, configured_version(settings))
    return Log(lake.read(EVENTS), lake.read(ITEMS), vectors)


def training_table(log: Log, *, seed: int = 0) -> FeatureTable:
    """Compute the features of every request that a ranker may be trained or tested on by time.

    Raises:
        ValueError: the log holds nothing to learn from.
    """
    if log.has_impressions:
        requests, events = impressions_from_events(log.events), log.events
    else:
        events, _ = leave_last_out(log.events, candidate_items=log.candidates)
        requests = training_requests(events, candidate_items=log.candidates, seed=seed)
    if requests.is_empty():
        raise ValueError("the lake's events hold no requests to learn from; land events first")
    # The similarity tiers are bounded by what users liked together, so by nothing of the test's.
    past = requests.filter(pl.col("ts") < _newest(requests, TEST_SHARE))
    pairs = history_pairs(histories(requests_of(past), events))
    centred = CentredEmbeddings.measured(log.vectors, pairs=pairs, seed=seed)
    return build_features(requests, events, log.items, log.vectors, centred=centred)


def evaluate_rankers(
    log: Log,
    table: FeatureTable,
    *,
    config: RankerConfig | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Report what rankers with and without match features are worth, in plain values.

    Returns:
        protocol, and the fields of `ranker.experiment.ExperimentReport` (impressions) or metrics
        and differences with intervals over users (leave-last-out).
    """
    if log.has_impressions:
        split = TimeSplit(at=_newest(table.frame, TEST_SHARE))
        report = run_experiment(table, split=split, config=config, seed=seed)
        return {"protocol": "impressions", **report.plain()}
    return _evaluate_left_out(log, table, config=config, seed=seed, progress=progress)


def _newest(frame: pl.DataFrame, share: float) -> datetime:
    """Return the moment after which the newest share of the requests came."""
    moments = frame.group_by("request_id").agg(pl.col("ts").first())["ts"].sort()
    return moments[int(len(moments) * (1 - share))]


def _evaluate_left_out(
    log: Log,
    table: FeatureTable,
    *,
    config: RankerConfig | None,
    seed: int,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    rankers = {
        name: train(table, feature_groups=groups, config=config)
        for name, groups in FEATURE_GROUPS.items()
    }
    ranks = _held_out_ranks(log, table, rankers, progress)
    values = {
        name: measure(Rankings.of_places(rank_U), ("hit@10", "ndcg@10"))
        for name, rank_U in ranks.items()
    }
    baseline, *others = values
    last = list(rankers.values())[-1]
    return {
        "protocol": "leave_last_out",
        "model_version": table.model_version,
        "schema_hash": table.schema_hash,
        "num_users": len(ranks[baseline]),
        "num_candidates": len(log.candidates),
        "num_train_rows": len(table.frame),
        "num_train_requests": table.frame["request_id"].n_unique(),
        "num_trees": {name: ranker.booster.num_trees() for name, ranker in rankers.items()},
        "metrics": {
            name: {metric: asdict(bootstrap_mean(v, seed=seed)) for metric, v in by_metric.items()}
            for name, by_metric in values.items()
        },
        "differences": {
            name: bootstrap_gains(values[name], values[baseline], seed=seed) for name in others
        },
        "importances": last.importances(),
    }


def _held_out_ranks(
    log: Log, table: FeatureTable, rankers: dict[str, Ranker], progress: Callable[[int], None]
) -> dict[str, np.ndarray]:
    """Rank every user's held-out item by each ranker, from 1; ties go to the smaller id."""
    train_events, held_out = leave_last_out(log.events, candidate_items=log.candidates)
    centred = CentredEmbeddings.of(log.vectors, table.centring)
    ranks: dict[str, list[np.ndarray]] = {name: [] for name in rankers}
    for start in range(0, len(held_out), USERS_AT_ONCE):
        users = held_out.slice(start, USERS_AT_ONCE)
        requests = held_out_requests(users, train_events, candidate_items=log.candidates)
        asked = build_features(requests, train_events, log.items, log.vectors, centred=centred)
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
