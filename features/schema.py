"""The one list of features: what each is called, what it means, and where it comes from."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from features.behaviour import BehaviourConfig
from features.code_overlap import CodeConfig
from features.collaborative import NeighbourConfig
from features.groups import FeatureGroup, in_order
from features.match_config import MatchConfig
from features.schema_rows import (
    FeatureType,
    Row,
    behaviour_rows,
    cluster_rows,
    code_rows,
    collaborative_rows,
    feedback_rows,
    match_rows,
    swing_rows,
    unit_and_range,
)

ROUNDING = 1e-4
"""By which a float32 may pass its range."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a feature table."""

    name: str
    dtype: FeatureType
    group: FeatureGroup
    """Tables and experiments leave some out; see `features.groups`."""

    description: str
    source: str
    """The formula, with c the candidate's vector, h a history item's, s = c . h, a its age; k how
    often both were liked together, `Cooccurrence.cosines`, w their Swing; b = the cosine of their
    vectors in the behaviour space; p = how many codes both begin with alike."""

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
    match: MatchConfig | None = None,
    collaborative: NeighbourConfig | None = None,
    behaviour: BehaviourConfig | None = None,
    codes: CodeConfig | None = None,
) -> tuple[Feature, ...]:
    """Return every feature of all groups, made with these, in column order."""
    match, collaborative = match or MatchConfig(), collaborative or NeighbourConfig()
    decay = collaborative.decay
    decayed = 1 / (1 - decay) if decay < 1 else None
    return (
        *CONTEXT_FEATURES,
        *_features("collaborative", collaborative_rows(collaborative), decayed=decayed),
        *_features("swing", swing_rows(collaborative)),
        *_features("match", match_rows(match)),
        *_features("feedback", feedback_rows(match)),
        *_features("clusters", cluster_rows()),
        *_features("behaviour", behaviour_rows(behaviour or BehaviourConfig())),
        *_features("codes", code_rows(codes or CodeConfig())),
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


def groups_of(features: Iterable[Feature]) -> tuple[FeatureGroup, ...]:
    """Return the groups that features are of, in order."""
    return in_order(feature.group for feature in features)


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


def _features(
    group: FeatureGroup, rows: Iterable[Row], *, decayed: float | None = None
) -> tuple[Feature, ...]:
    return tuple(
        Feature(name, dtype, group, description, source, *unit_and_range(name, decayed))
        for name, dtype, description, source in rows
    )
