"""Alarms of an experiment: what looks as if a feature knew the answer.

A feature leaks when it holds what came after its request. Three things are looked at: features that
tell too much alone; a gain that stays when the features are another request's; and, where the log
is at hand, features that come out otherwise when they are made again without whatever came later.

Shape legend: N = rows, F = features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl

from evaluation.bootstrap import Interval
from features.centred_embeddings import CentredEmbeddings
from features.log import Log
from features.requests import numbered
from features.schema import groups_of
from features.table import KEY_COLUMNS, FeatureConfig, FeatureTable, build_features

MAX_ALONE = 0.9
"""AUC inside requests that no honest feature reaches alone: 0.6 is much in a shop. What leaks less
is left to the clock's alarm."""

MIN_REQUESTS = 10

TOLERANCE = 1e-3
"""Relative; features made again differ less, by the order of a sum."""

SHIFT = timedelta(hours=1)
"""What a clock that goes wrong is set forward by, to see whether the alarm hears it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """Something that is too good to be true."""

    kind: Literal["feature", "order", "clock"]
    """`feature`: it tells too much alone. `order`: the gain stays with another request's features.
    `clock`: made again from what was known before its request, it is another value."""

    features: list[str]
    """Which ones, the worst first; those of the whole variant for `order`."""

    says: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """What the alarms heard of faults that were put there on purpose."""

    shuffled_gain: Interval
    """GAUC gained over the base with the features of another request: nothing, when all is well."""

    shifted_features: list[str] | None
    """Named when every clock was an hour ahead; empty: such a leak would not be heard here, for
    nothing is chosen within an hour. None without a log to shift."""


def too_good(table: FeatureTable) -> list[Alarm]:
    """Return an alarm that names the features which tell too much alone, or nothing.

    What a few requests show by chance is no alarm: the AUC less three of its standard errors
    counts, of ten requests or more.

    Args:
        table: with `relevance`.
    """
    alone = feature_aucs(table.frame, [feature.name for feature in table.features])
    wrong = sorted((-found.auc, name) for name, found in alone.items() if found.least > MAX_ALONE)
    if not wrong:
        return []
    told = ", ".join(f"{name} {-auc:.3f}" for auc, name in wrong[:5])
    says = f"alone inside requests, AUC above {MAX_ALONE}: {told}; do they know the answer?"
    return [Alarm(kind="feature", features=[name for _, name in wrong], says=says)]


@dataclass(frozen=True, slots=True)
class FeatureAuc:
    """What a feature tells by itself."""

    auc: float
    """Inside requests, in [0.5, 1]: falling features count as rising ones do. NaN of none."""

    least: float
    """Less three standard errors; NaN of fewer than ten requests."""


def feature_aucs(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, FeatureAuc]:
    """Return the AUC inside requests of each feature by itself.

    Missing values are the smallest. A request without a relevant and another row says nothing; the
    others count alike.
    """
    value = [pl.col(name).cast(pl.Float64).fill_null(-np.inf).alias(name) for name in names]
    rank = [pl.col(name).rank("average").over("request") for name in names]
    ranked = (
        numbered(frame)
        .select("request", (pl.col("relevance") >= 1).alias("positive"), *value)
        .with_columns(rank)
    )
    num, hits = pl.len(), pl.col("positive").sum()
    areas = [
        (
            (pl.col(name).filter(pl.col("positive")).sum() - hits * (hits + 1) / 2)
            / (hits * (num - hits))
        ).alias(name)
        for name in names
    ]
    groups = (
        ranked.group_by("request", maintain_order=True)
        .agg(num.alias("num"), hits.alias("hits"), *areas)
        .filter((pl.col("hits") > 0) & (pl.col("hits") < pl.col("num")))
    )
    return {name: _auc_of(groups[name].to_numpy()) for name in names}


def _auc_of(auc_G: np.ndarray) -> FeatureAuc:
    if not len(auc_G):
        return FeatureAuc(float("nan"), float("nan"))
    mean = float(auc_G.mean())
    auc = max(mean, 1 - mean)
    if len(auc_G) < MIN_REQUESTS:
        return FeatureAuc(auc, float("nan"))
    return FeatureAuc(auc, auc - 3 * float(auc_G.std(ddof=1)) / math.sqrt(len(auc_G)))


def with_features_of_others(
    table: FeatureTable, names: Sequence[str], *, seed: int
) -> FeatureTable:
    """Return the table with some features taken from other rows, of other requests and times."""
    order = np.random.default_rng(seed).permutation(len(table.frame))
    others = table.frame.select(pl.col(list(names)).gather(order))
    return table.with_frame(table.frame.with_columns(others))


def shuffled_alarm(gain: Interval, names: Sequence[str]) -> list[Alarm]:
    """Return an alarm when a gain stays with the features of other requests.

    The gain less three standard errors counts, as of one feature: an interval of 95 % that excludes
    zero would come up every fortieth night by chance.
    """
    standard_error = (gain.high - gain.low) / (2 * 1.96)
    if not gain.mean - 3 * standard_error > 0:
        return []
    says = (
        f"with the features of other requests {gain.mean:+.3f} GAUC stay "
        f"({gain.low:+.3f} to {gain.high:+.3f}); the test tells the answer by itself"
    )
    return [Alarm(kind="order", features=list(names), says=says)]


def clock_alarm(
    log: Log,
    table: FeatureTable,
    *,
    num_requests: int,
    config: FeatureConfig | None = None,
    seed: int,
) -> list[Alarm]:
    """Make some requests' features again, from what came before each, and compare.

    Args:
        log: what the table was made from; of pages, with their events.
        table: of the export.
        num_requests: to make again.
        config: of the table; the defaults, of its groups, when None.
        seed: of which.
    """
    config = config or FeatureConfig(groups=groups_of(table.features))
    exported = _sample(table, num_requests, seed)
    keys = list(KEY_COLUMNS)
    centred = CentredEmbeddings.of(log.vectors, table.centring)
    parts = []
    for (ts,), asked in exported.select(keys).group_by("ts", maintain_order=True):
        before = log.events.filter(pl.col("ts") < ts)
        made = build_features(asked, before, log.items, log.vectors, config=config, centred=centred)
        parts.append(made.frame)
    again = exported.select(keys).join(
        pl.concat(parts), on=keys, how="left", maintain_order="left", nulls_equal=True
    )
    shares = {f.name: _differing(exported[f.name], again[f.name]) for f in table.features}
    wrong = sorted((-share, name) for name, share in shares.items() if share > 0)
    if not wrong:
        return []
    told = ", ".join(f"{name} in {-share:.0%} of the rows" for share, name in wrong[:5])
    says = (
        "made again from what was known before each request these differ: "
        f"{told}; they know of later events, or the export is older than a change of the log"
    )
    return [Alarm(kind="clock", features=[name for _, name in wrong], says=says)]


def shifted(log: Log, table: FeatureTable, *, num_requests: int, seed: int) -> FeatureTable:
    """Return some requests' features as of an hour after each: a leak on purpose."""
    asked = _sample(table, num_requests, seed)
    keys = asked.select(*KEY_COLUMNS, "relevance")
    centred = CentredEmbeddings.of(log.vectors, table.centring)
    later = keys.with_columns(pl.col("ts") + SHIFT)
    config = FeatureConfig(groups=groups_of(table.features))
    return build_features(later, log.events, log.items, log.vectors, config=config, centred=centred)


def _sample(table: FeatureTable, num_requests: int, seed: int) -> pl.DataFrame:
    """Return the rows of some requests in which one item was better than another."""
    rows = numbered(table.frame)
    telling = rows.group_by("request").agg(pl.col("relevance").n_unique().alias("kinds"))
    requests = telling.filter(pl.col("kinds") > 1)["request"].sort()
    drawn = requests.sample(min(num_requests, len(requests)), seed=seed)
    return rows.filter(pl.col("request").is_in(drawn.implode())).drop("request")


def _differing(one: pl.Series, other: pl.Series) -> float:
    """Return the share of rows that differ by more than the tolerance, or in being missing."""
    one_N, other_N = (side.cast(pl.Float64).fill_null(np.nan).to_numpy() for side in (one, other))
    same_N = np.isclose(one_N, other_N, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    return float((~same_N).mean()) if len(same_N) else 0.0
