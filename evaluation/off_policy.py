"""What another policy would have earned, estimated from a log of one that chose at random.

Each logged row is an item shown with a known probability, its propensity. A row counts more where
the other policy would have shown its item more often (Horvitz and Thompson 1952; self-normalised:
Swaminathan and Joachims 2015). Nothing is said of items that the logging policy never showed.

Shape legend: N = rows.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from evaluation.bootstrap import Interval, interval, resample

COLUMNS = ("user_id", "propensity", "target", "reward")


@dataclass(frozen=True, kw_only=True, slots=True)
class OffPolicyEstimate:
    """The mean reward a row of the other policy. Intervals draw users."""

    num_rows: int
    num_users: int

    logged: Interval
    """What the logging policy earned."""

    ips: Interval
    """Inverse propensity: right on average, and as wide as the weights are unequal."""

    snips: Interval
    """Self-normalised: a little biased, steadier, and within the range of the rewards."""

    effective_rows: float
    """As many rows of equal weight would tell as much; far fewer than there are: do not trust."""

    mean_weight: float
    """Near 1 where the propensities are right and every item had a chance."""

    clipped_share: float
    """Rows whose weight was cut to `max_weight`."""


def off_policy(
    log: pl.DataFrame,
    *,
    max_weight: float = 100.0,
    num_resamples: int = 1000,
    seed: int = 0,
) -> OffPolicyEstimate:
    """Estimate what a policy earns from a log of another one.

    Args:
        log: user_id; propensity, the probability with which the item was shown there, in (0, 1];
            target, the probability with which the policy in question shows it, in [0, 1]; reward.
        max_weight: larger ratios are cut to it, > 0: some bias for much less noise.
        num_resamples: of the intervals.
        seed: of the intervals.

    Raises:
        ValueError: a column is missing, a probability is out of range, or there are no rows.
    """
    _check(log, max_weight)
    ratio_N = (log["target"] / log["propensity"]).to_numpy()
    weight_N = np.minimum(ratio_N, max_weight)
    reward_N = log["reward"].cast(pl.Float64).to_numpy()
    users, user_N = np.unique(log["user_id"].to_numpy(), return_inverse=True)
    one_N = np.ones(len(log))
    columns = (one_N, reward_N, weight_N, weight_N * reward_N)
    sums_4U = np.stack([np.bincount(user_N, weights=column) for column in columns])

    def statistic(count_U: np.ndarray) -> np.ndarray:
        rows, reward, weight, weighted = sums_4U @ count_U
        snips = weighted / weight if weight else float("nan")
        return np.array([reward / rows, weighted / rows, snips])

    samples = resample(statistic, len(users), num_resamples=num_resamples, seed=seed)
    value = statistic(np.ones(len(users)))
    logged, ips, snips = (interval(value[i], samples[:, i]) for i in range(3))
    square = float((weight_N**2).sum())
    return OffPolicyEstimate(
        num_rows=len(log),
        num_users=len(users),
        logged=logged,
        ips=ips,
        snips=snips,
        effective_rows=float(weight_N.sum()) ** 2 / square if square else 0.0,
        mean_weight=float(weight_N.mean()),
        clipped_share=float((ratio_N > max_weight).mean()),
    )


def _check(log: pl.DataFrame, max_weight: float) -> None:
    if missing := [name for name in COLUMNS if name not in log.columns]:
        raise ValueError(f"a log must have the columns {list(COLUMNS)}, got none named {missing}")
    if log.is_empty():
        raise ValueError("a log must have rows, got none")
    if max_weight <= 0:
        raise ValueError(f"max_weight must be > 0, got {max_weight}")
    p, target = pl.col("propensity"), pl.col("target")
    rules = {
        "propensity must be in (0, 1]": (p > 0) & (p <= 1),
        "target must be in [0, 1]": target.is_between(0, 1),
        "reward must be a finite number": pl.col("reward").cast(pl.Float64).is_finite(),
    }
    for rule, holds in rules.items():
        wrong = log.filter(~holds.fill_null(False))
        if len(wrong):
            raise ValueError(f"{rule}, got {wrong.row(0, named=True)} and {len(wrong) - 1} more")
