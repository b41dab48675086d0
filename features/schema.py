"""The one list of features: what each is called, what it means, and where it comes from."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from features.collaborative import NeighbourConfig
from features.match_config import SIZES, MatchConfig

FeatureGroup = Literal["context", "collaborative", "match", "feedback"]
VECTOR_GROUPS: tuple[FeatureGroup, ...] = ("match", "feedback")
"""Groups that compare vectors: all that was liked, and by how it was said."""

FeatureType = Literal["Float32", "UInt32", "Boolean"]

ROUNDING = 1e-4
"""By which a float32 may pass its range."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a feature table."""

    name: str
    dtype: FeatureType
    group: FeatureGroup
    """ "context" and "collaborative" need no vector, `VECTOR_GROUPS` compare vectors. Experiments
    leave groups out."""

    description: str
    source: str
    """The formula, with c the candidate's vector, h a history item's, s = c . h, a its age; k how
    often both were liked together, `Cooccurrence.cosines`."""

    unit: str = ""
    """Of the values, empty for those that have none."""

    low: float | None = None
    """No value is less, up to rounding; None: no such bound."""

    high: float | None = None
    """No value is greater, up to rounding; None: no such bound."""


def _count(name: str, group: FeatureGroup, description: str, source: str, unit: str) -> Feature:
    return Feature(name, "UInt32", group, description, source, unit, 0)


CONTEXT_FEATURES = (
    _count("item_impressions", "context", "times the item was shown before", "count", "events"),
    _count("item_positives", "context", "positive events on it before", "count", "events"),
    Feature(
        "item_rate",
        "Float32",
        "context",
        "positive events per impression, smoothed",
        "(min(positives, impressions) + prior) / (impressions + prior_impressions)",
        "",
        0,
        1,
    ),
    Feature(
        "item_popularity",
        "Float32",
        "context",
        "positive events on it, old ones counting less",
        "sum 2^(-age / half life)",
        "events",
        0,
    ),
    Feature(
        "item_age_h", "Float32", "context", "hours since created_at", "ts - created_at", "h", 0
    ),
    Feature(
        "item_price",
        "Float32",
        "context",
        "attribute price at the request",
        "price",
        "the catalogue's",
    ),
    _count("user_events", "context", "events of the user before, of any kind", "count", "events"),
    _count("user_positives", "context", "positive events of the user before", "count", "events"),
    Feature(
        "user_category_share",
        "Float32",
        "context",
        "share of the user's positive events in the candidate's category",
        "count in category / count",
        "",
        0,
        1,
    ),
)


def feature_schema(
    match: MatchConfig | None = None, collaborative: NeighbourConfig | None = None
) -> tuple[Feature, ...]:
    """Return every feature that a table made with these has, in column order."""
    return (
        CONTEXT_FEATURES
        + _collaborative_features(collaborative or NeighbourConfig())
        + _match_features(match or MatchConfig())
    )


def schema_hash(features: Iterable[Feature], config: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that change with any name, type, group, formula or the order.

    And with any value of the configuration, for it decides what a feature's value is.

    Args:
        features: in column order.
        config: the `FeatureConfig`, as plain values.
    """
    rows = [(f.name, f.dtype, f.group, f.source) for f in features]
    text = json.dumps([rows, config], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def names_of(features: Sequence[Feature], groups: Iterable[FeatureGroup]) -> list[str]:
    """Return the names of the features of some groups, in column order."""
    chosen = set(groups)
    return [feature.name for feature in features if feature.group in chosen]


def check_values(frame: pl.DataFrame, features: Sequence[Feature]) -> None:
    """Refuse values that a feature cannot have, which only a fault of the code would make.

    Raises:
        ValueError: another type, a value that is no number, or one outside the range.
    """
    for feature in features:
        values = frame[feature.name]
        if str(values.dtype) != feature.dtype:
            raise ValueError(f"{feature.name} must be {feature.dtype}, got {values.dtype}")
        if feature.dtype == "Boolean" or values.null_count() == len(values):
            continue
        low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
        least, most = feature.low, feature.high
        is_number = math.isfinite(low) and math.isfinite(high) and not values.is_nan().any()
        is_inside = (least is None or low >= least - ROUNDING) and (
            most is None or high <= most + ROUNDING
        )
        if not (is_number and is_inside):
            raise ValueError(
                f"{feature.name} must be a number from {least} to {most}, got {low} to {high}"
            )


def _collaborative_features(config: NeighbourConfig) -> tuple[Feature, ...]:
    decay = config.decay
    rows: list[tuple[str, FeatureType, str, str]] = [
        (
            "co_decayed",
            "Float32",
            "liked together with the history, older items counting less",
            f"sum {decay} ^ place * k",
        ),
        ("co_mean", "Float32", "liked together with the history on average", "mean k"),
        ("co_max", "Float32", "liked together with the history item closest so", "max k"),
        ("co_top3_mean", "Float32", "the same of the 3 closest", "mean of the 3 largest k"),
        ("co_last", "Float32", "liked together with the newest history item", "k of the newest"),
        ("co_last5_max", "Float32", "closest of the five newest", "max k of the five newest"),
        ("co_share", "Float32", "share of the history liked with it at all", "count of k > 0 / n"),
        *(row for name in config.relative for row in _relative_rows(name)),
    ]
    decayed = 1 / (1 - decay) if decay < 1 else None
    return tuple(
        Feature(name, dtype, "collaborative", description, source, *_range(name, decayed))
        for name, dtype, description, source in rows
    )


def _relative_rows(name: str) -> list[tuple[str, FeatureType, str, str]]:
    return [
        (f"{name}_rank", "UInt32", f"rank of {name} in its request, 1 = best", "rank"),
        (f"{name}_gap", "Float32", f"{name} above the request's", "x - median x"),
    ]


def _match_features(config: MatchConfig) -> tuple[Feature, ...]:
    rows: list[tuple[str, FeatureType, str, str]] = [
        (
            "history_size",
            "UInt32",
            "items in the history, the candidate and its duplicates left out",
            "n",
        ),
        ("is_repeat", "Boolean", "the candidate is in the history", "c in history"),
        ("has_vector", "Boolean", "the candidate has a vector", "c is known"),
        *_similarity_rows(config),
        *_tier_rows(config),
        *_detail_rows(config),
    ]
    rows += [row for name in config.relative for row in _relative_rows(name)]
    groups: tuple[tuple[FeatureGroup, list[tuple[str, FeatureType, str, str]]], ...] = (
        ("match", rows),
        ("feedback", _feedback_rows(config)),
    )
    return tuple(
        Feature(name, dtype, group, description, source, *_range(name, None))
        for group, some in groups
        for name, dtype, description, source in some
    )


def _range(name: str, decayed: float | None) -> tuple[str, float | None, float | None]:
    """Return unit, least and greatest value of a feature that a history makes.

    Args:
        name: of the feature.
        decayed: what `co_decayed` cannot reach; None: there is no such bound.
    """
    if name.endswith("_rank"):
        return "place", 1, None
    if name.endswith("_gap"):
        bound = decayed if name.startswith("co_decayed") else 2 if name.startswith("match") else 1
        return "", None if bound is None else -bound, bound
    if name == "co_decayed":
        return "", 0, decayed
    if name.endswith("_h"):
        return "h", 0, None
    if name.startswith("match_over"):
        return "cosine", -2, 2
    if name == "match_std" or name.startswith("outcome"):
        return "", 0, 1
    if name.endswith("_share") or name.startswith("co_"):
        return "", 0, 1
    if name.endswith("_size"):
        return "items", 0, None
    if name.endswith("_log1p"):
        return "log items", 0, None
    return ("", None, None) if name in ("is_repeat", "has_vector") else ("cosine", -1, 1)


def _similarity_rows(config: MatchConfig) -> list[tuple[str, FeatureType, str, str]]:
    formulas = {
        "match_max": ("nearest history item", "max s"),
        "match_mean": ("mean over the history", "mean s"),
        "match_last": ("newest history item", "s of the newest"),
        "match_last5_max": ("nearest of the five newest", "max s of the five newest"),
    }
    formulas |= {
        f"match_top{k}_mean": (f"mean of the {k} nearest", f"mean of the {k} largest s")
        for k in config.top_k
    }
    formulas |= {
        f"match_profile_{days}d": (
            f"profile with a half-life of {days} days",
            f"c . normalise(sum 2^(-a / {days} d) h)",
        )
        for days in config.half_lives_days
    }
    return [
        (name, "Float32", f"cosine with the history: {formulas[name][0]}", formulas[name][1])
        for name in config.similarity_names()
    ]


def _tier_rows(config: MatchConfig) -> list[tuple[str, FeatureType, str, str]]:
    """SimTier (arXiv 2407.19467): the histogram of s, between the edges of the centring."""
    shares: list[tuple[str, FeatureType, str, str]] = [
        (f"match_tier{t}_share", "Float32", f"share of the history in tier {t}", "count / n")
        for t in range(config.num_tiers)
    ]
    counts: list[tuple[str, FeatureType, str, str]] = [
        (f"match_tier{t}_log1p", "Float32", f"history items in tier {t}", "log(1 + count)")
        for t in range(config.num_tiers)
    ]
    return shares + counts


def _detail_rows(config: MatchConfig) -> list[tuple[str, FeatureType, str, str]]:
    told = {
        "match_profile": ("profile in which all weigh the same", "c . normalise(sum h)"),
        "match_std": ("spread of the cosines", "sqrt(mean (s - mean s)^2)"),
        "match_median": ("median cosine", "median s"),
        "match_last5_mean": ("mean cosine of the five newest", "mean s of the five newest"),
        "match_max_age_h": ("age of the nearest item, of equal ones the newest", "a of max s"),
        "match_near_share": ("share of the history that is near", "count of s >= near / n"),
        "match_near_age_h": ("age of the newest item that is near", "min a of s >= near"),
        "history_newest_h": ("age of the newest item compared", "min a"),
        "history_span_h": ("from the oldest to the newest item compared", "max a - min a"),
        "match_category_size": (
            "items compared that were of the candidate's category",
            "count of same category",
        ),
        "match_category_max": ("nearest of these", "max s of same category"),
        "match_category_mean": ("mean of these", "mean s of same category"),
        "match_candidates_mean": (
            "mean cosine with the other candidates of the request",
            "mean c . other candidate",
        ),
    }
    for n in range(2, config.num_nearest + 1):
        told[f"match_nearest{n}"] = (f"cosine of the nearest item but {n - 1}", f"{n}. largest s")
    return [(name, _dtype(name), *told[name]) for name in config.detail_names()]


def _feedback_rows(config: MatchConfig) -> list[tuple[str, FeatureType, str, str]]:
    hours, days = config.session_h, config.outcome_half_life_days
    weight = f"exp(s / {config.temperature})"
    told = {
        "strong_size": ("items compared that were liked strongly", "count of strong"),
        "strong_max": ("nearest of these", "max s of strong"),
        "strong_top3_mean": ("mean of the 3 nearest of these", "mean of the 3 largest s of strong"),
        "strong_last": ("newest of these", "s of the newest strong"),
        "strong_profile": ("profile of these", "c . normalise(sum h of strong)"),
        "session_size": (f"items compared that were liked within {hours:g} h", f"a <= {hours:g} h"),
        "session_max": ("nearest of these", "max s of session"),
        "session_mean": ("mean of these", "mean s of session"),
        "skip_size": (f"newest items skipped, {config.skip_slots} at most", "n of skipped"),
        "skip_max": ("nearest of these", "max s of skipped"),
        "skip_top3_mean": ("mean of the 3 nearest of these", "mean of the 3 largest s of skipped"),
        "skip_last": ("newest of these", "s of the newest skipped"),
        "skip_profile": ("profile of these", "c . normalise(sum h of skipped)"),
        "match_over_skip_max": ("nearest liked above nearest skipped", "match_max - skip_max"),
        "match_over_skip_top3": (
            "the same of the 3 nearest",
            "match_top3_mean - skip_top3_mean",
        ),
        "outcome_near": (
            "share of liked ones among what was liked or skipped, near ones weighing more",
            f"sum w of liked / sum w, w = {weight}",
        ),
        "outcome_recent": (
            "the same, old ones weighing less",
            f"sum w of liked / sum w, w = {weight} * 2^(-a / {days:g} d)",
        ),
    }
    return [(name, _dtype(name), *told[name]) for name in config.feedback_names()]


def _dtype(name: str) -> FeatureType:
    return "UInt32" if name in SIZES else "Float32"
