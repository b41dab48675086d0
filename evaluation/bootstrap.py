"""Intervals by resampling groups (users, requests) with replacement.

Rows of one user are not independent, so whole users are drawn; and two rankers are compared on
the same draws, so that what a hard user does to both cancels.

Legend: B = resamples, C = clusters, G = values, M = numbers a statistic gives.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and the interval that holds 95 % of its resampled values."""

    mean: float
    """The number itself, on the data as it is."""

    low: float
    high: float


def resample(
    statistic: Callable[[np.ndarray], np.ndarray],
    num_clusters: int,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Return [B, M] the statistic on each resample.

    Args:
        statistic: from [C] times that each cluster was drawn (float64) to [M] numbers.
        num_clusters: C.
        num_resamples: B.
        seed: equal seeds give equal draws, whatever the statistic.
    """
    rng = np.random.default_rng(seed)
    draws = (rng.integers(num_clusters, size=num_clusters) for _ in range(num_resamples))
    return np.stack(
        [statistic(np.bincount(draw, minlength=num_clusters).astype(np.float64)) for draw in draws]
    )


def interval(value: float, samples_B: np.ndarray) -> Interval:
    """Return the value with its percentile interval, leaving out resamples without one (NaN)."""
    known = samples_B[np.isfinite(samples_B)]
    if not len(known):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def bootstrap_mean(
    value_G: np.ndarray,
    *,
    weight_G: np.ndarray | None = None,
    cluster_G: np.ndarray | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the weighted mean of the values and its interval.

    Args:
        value_G: one number per group, NaN where it has none (left out).
        weight_G: >= 0; all equal when None.
        cluster_G: what to draw as a whole, e.g. the user of each request; each group by itself
            when None.
        num_resamples: B.
        seed: of the draws.
    """
    weight_G = np.ones(len(value_G)) if weight_G is None else weight_G
    cluster_G = np.arange(len(value_G)) if cluster_G is None else cluster_G
    _, index_G = np.unique(cluster_G, return_inverse=True)
    known_G = np.isfinite(value_G)
    index_G, weight_G, value_G = index_G[known_G], weight_G[known_G], value_G[known_G]
    if not len(value_G):
        return Interval(float("nan"), float("nan"), float("nan"))
    # Sums per cluster first: a resample then costs C, not G.
    _, index_G = np.unique(index_G, return_inverse=True)
    total_C = np.bincount(index_G, weights=weight_G * value_G)
    weight_C = np.bincount(index_G, weights=weight_G)
    samples_B1 = resample(
        lambda count_C: np.array([count_C @ total_C / (count_C @ weight_C)]),
        len(total_C),
        num_resamples=num_resamples,
        seed=seed,
    )
    return interval(total_C.sum() / weight_C.sum(), samples_B1[:, 0])


def bootstrap_difference(
    value_G: np.ndarray,
    baseline_G: np.ndarray,
    *,
    weight_G: np.ndarray | None = None,
    cluster_G: np.ndarray | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the mean of value minus baseline, group by group; arguments as of `bootstrap_mean`."""
    return bootstrap_mean(
        value_G - baseline_G,
        weight_G=weight_G,
        cluster_G=cluster_G,
        num_resamples=num_resamples,
        seed=seed,
    )


def bootstrap_gains(
    scores: Mapping[str, np.ndarray],
    baseline: Mapping[str, np.ndarray],
    rows: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return by metric what the scores have over the baseline.

    Args:
        scores: metric -> [G] value of each group.
        baseline: the same metrics of the same groups.
        rows: the groups that count; all when None.
        seed: of the draws.
    """
    every = slice(None) if rows is None else rows
    return {
        name: bootstrap_difference(value_G[every], baseline[name][every], seed=seed)
        for name, value_G in scores.items()
    }
