"""Scorings of one test set compared: AUC, GAUC, NDCG@10 and hit@10, with intervals.

Legend: N = rows, G = requests, U = users, M = metrics, B = resamples, V = scorings, S = seeds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from evaluation import metrics
from evaluation.bootstrap import Interval, interval, resample
from evaluation.rankings import Rankings
from features.requests import REQUEST_KEY

METRICS = ("auc", "gauc", "ndcg@10", "hit@10")
"""auc: over all rows, so it also sees whether scores compare between requests. gauc: mean of the
requests' AUC, each weighing its candidates. ndcg@10: gain 2^relevance - 1. hit@10."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What several scorings of the same rows are worth.

    Intervals draw users, and seeds where a scoring was made with several: what both a lucky seed
    and a few users would do is in them. All scorings are measured on the same draws.
    """

    num_rows: int
    num_requests: int
    """Requests with something relevant; the others say nothing of order and count in auc only."""

    num_users: int

    metrics: dict[str, dict[str, Interval]]
    """Scoring -> metric -> value; NaN where it is not defined."""

    differences: dict[str, dict[str, Interval]]
    """The same minus the first scoring, over the same draws; the first is not in it."""


def evaluate_scorings(
    frame: pl.DataFrame,
    scores: Mapping[str, np.ndarray],
    *,
    num_resamples: int = 500,
    seed: int = 0,
) -> Evaluation:
    """Measure each scoring, and each against the first.

    Args:
        frame: [N] request_id, user_id, ts, item_id, relevance.
        scores: name -> [N] score, higher is better, or [S, N], a row for each seed with which the
            scorer was made; as many for all. The first is the baseline.
        num_resamples: B.
        seed: of the draws.
    """
    users = frame["user_id"].unique().sort()
    by_seed = {name: np.atleast_2d(score) for name, score in scores.items()}
    num_seeds = len(next(iter(by_seed.values())))
    statistics = [
        _statistic(frame, users, score_N) for score_SN in by_seed.values() for score_N in score_SN
    ]
    shape = len(scores), num_seeds, len(METRICS)

    def together(count_U: np.ndarray) -> np.ndarray:
        return np.concatenate([statistic(count_U) for statistic in statistics])

    value_VM = together(np.ones(len(users))).reshape(shape).mean(axis=1)
    samples = resample(together, len(users), num_resamples=num_resamples, seed=seed)
    share_BS = _seed_shares(num_resamples, num_seeds, seed)
    samples_BVM = np.einsum("bvsm,bs->bvm", samples.reshape(num_resamples, *shape), share_BS)
    names = list(scores)
    judged = frame.filter(pl.col("relevance") >= 1)
    return Evaluation(
        num_rows=len(frame),
        num_requests=judged.select(REQUEST_KEY).n_unique(),
        num_users=len(users),
        metrics={name: _intervals(value_VM[i], samples_BVM[:, i]) for i, name in enumerate(names)},
        differences={
            name: _intervals(value_VM[i] - value_VM[0], samples_BVM[:, i] - samples_BVM[:, 0])
            for i, name in enumerate(names)
            if i > 0
        },
    )


def _seed_shares(num_resamples: int, num_seeds: int, seed: int) -> np.ndarray:
    """Return [B, S] the share of each seed when as many are drawn as there are."""
    rng = np.random.default_rng([seed, num_seeds])
    draws = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples)
    return draws / num_seeds


def _intervals(value_M: np.ndarray, samples_BM: np.ndarray) -> dict[str, Interval]:
    return {name: interval(value_M[i], samples_BM[:, i]) for i, name in enumerate(METRICS)}


def _statistic(
    frame: pl.DataFrame, users: pl.Series, score_N: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from the times each user was drawn, [U], to the metrics, [M]."""
    row_of = pl.DataFrame({"user_id": users}).with_row_index("user")
    number_of = frame.select(REQUEST_KEY).unique().sort(REQUEST_KEY).with_row_index("request")
    rows = (
        frame.select(*REQUEST_KEY, "item_id", "relevance")
        .join(number_of, on=REQUEST_KEY, how="left", maintain_order="left")
        .join(row_of, on="user_id", how="left", maintain_order="left")
    )
    rankings = Rankings.of(rows.with_columns(score=pl.Series(score_N)), group="request")
    requests = rows.group_by("request").agg(pl.col("user").first()).sort("request")
    user_G = requests["user"].to_numpy()
    user_N = rows["user"].to_numpy()
    over_all = metrics.weighted_auc(rows["relevance"].to_numpy(), score_N)
    answered_G = (metrics.num_relevant(rankings) > 0).astype(np.float64)
    columns = [
        (metrics.group_auc(rankings), metrics.num_retrieved(rankings)),
        (metrics.ndcg(rankings, k=10, gain="exp2"), answered_G),
        (metrics.hit(rankings, k=10), answered_G),
    ]

    def statistic(count_U: np.ndarray) -> np.ndarray:
        drawn_G = count_U[user_G]
        means = (metrics.weighted_mean(value, weight * drawn_G) for value, weight in columns)
        return np.array([over_all(count_U[user_N]), *means])

    return statistic
