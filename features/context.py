"""Context features: what is known of user and item apart from any vector, as of the request.

These are the base against which match features are measured. The position at which an item was
shown is not among them: it is known only once the ranker has spoken.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from features.histories import HistoryConfig, positive_events


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextConfig:
    """How counts become rates and trends."""

    popularity_half_life_days: float = 7.0
    """A positive event of this age counts half in `item_popularity`."""

    prior_rate: float = 0.05
    """Positive events per impression expected of an item never shown, in (0, 1)."""

    prior_impressions: float = 20.0
    """Impressions that the prior weighs as much as."""

    history: HistoryConfig = field(default_factory=HistoryConfig)
    """Which events are positive."""

    def __post_init__(self) -> None:
        if self.popularity_half_life_days <= 0 or self.prior_impressions <= 0:
            raise ValueError(
                "popularity_half_life_days and prior_impressions must be > 0, got "
                f"{self.popularity_half_life_days} and {self.prior_impressions}"
            )
        if not 0 < self.prior_rate < 1:
            raise ValueError(f"prior_rate must be in (0, 1), got {self.prior_rate}")


def context_features(
    impressions: pl.DataFrame,
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    config: ContextConfig | None = None,
) -> pl.DataFrame:
    """Compute counts, rates and ages of each candidate and its user, from events strictly before.

    Categories and creation times come from `items` as it is now; the lake keeps no older ones.

    Args:
        impressions: request_id, user_id, item_id, ts; one row per candidate, any order.
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        items: item_id, category, created_at; one row per item.
        config: rates and half-life; the defaults when None.

    Returns:
        One row per impression, same order, with the "context" columns of `features.schema`.
        Ages and categories of an item that is not in `items`, or not created yet, are null.
    """
    config = config or ContextConfig()
    about = items.select("item_id", "category", "created_at")
    positives = positive_events(events, config=config.history)
    asked = impressions.select("user_id", "item_id", "ts").join(
        about, on="item_id", how="left", maintain_order="left", validate="m:1"
    )
    liked = positives.select("user_id", "item_id", "ts").join(
        about.select("item_id", "category"), on="item_id", how="left"
    )
    shown = count_before(asked, events.filter(pl.col("action") == "impression"), by=["item_id"])
    chosen = count_before(asked, positives, by=["item_id"])
    user_chosen = count_before(asked, positives, by=["user_id"])
    in_category = count_before(
        asked, liked.drop_nulls("category"), by=["user_id", "category"]
    ).zip_with(asked["category"].is_not_null(), pl.Series([None], dtype=pl.UInt32))
    age_h = (asked["ts"] - asked["created_at"]).dt.total_seconds(fractional=True) / 3600
    return pl.DataFrame(
        {
            "item_impressions": shown,
            "item_positives": chosen,
            "item_rate": _smoothed_rate(chosen, shown, config).cast(pl.Float32),
            "item_popularity": decayed_count(
                asked, positives, half_life_days=config.popularity_half_life_days
            ).cast(pl.Float32),
            "item_age_h": age_h.set(age_h < 0, None).cast(pl.Float32),
            "user_events": count_before(asked, events, by=["user_id"]),
            "user_positives": user_chosen,
            "user_category_share": (in_category / user_chosen.replace(0, None)).cast(pl.Float32),
        }
    )


def count_before(asked: pl.DataFrame, events: pl.DataFrame, *, by: list[str]) -> pl.Series:
    """Count events with the same `by` strictly before each row's `ts`; uint32, 0 of none."""
    running = (
        events.select(*by, "ts")
        .sort("ts")
        .with_columns(count=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over(by))
    )
    counted = (
        asked.select(*by, "ts")
        .with_row_index("row")
        .sort("ts")
        .join_asof(
            running,
            on="ts",
            by=by,
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,  # cannot be checked per key; both sides are sorted above
        )
        .sort("row")
    )
    return counted["count"].fill_null(0)


def decayed_count(asked: pl.DataFrame, events: pl.DataFrame, *, half_life_days: float) -> pl.Series:
    """Count events on the item before each row's `ts`, each weighing 2^(-age / half life).

    The running sum is kept as a logarithm, since 2^(ts / half life) overflows over some years.
    All items share one accumulation; a step between them larger than any sum inside one makes
    what came before vanish.
    """
    rate = math.log(2) / (half_life_days * 86_400_000_000)  # per microsecond
    ordered = events.select("item_id", "ts").sort("item_id", "ts")
    if ordered.is_empty():
        return pl.zeros(len(asked), dtype=pl.Float64, eager=True)
    start = ordered["ts"].min()
    when = ((pl.col("ts") - start).dt.total_microseconds()) * rate
    span = float(ordered.select(when.max()).item()) + 100.0
    step = pl.col("item_id").rle_id().cast(pl.Float64) * span
    logs = ordered.with_columns(step=step).with_columns(log=when + pl.col("step"))
    sums = logs.with_columns(log=pl.Series(np.logaddexp.accumulate(logs["log"].to_numpy())))
    found = (
        asked.select("item_id", "ts")
        .with_row_index("row")
        .sort("ts")
        .join_asof(
            sums.sort("ts", maintain_order=True),
            on="ts",
            by="item_id",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,  # cannot be checked per key; both sides are sorted above
        )
        .sort("row")
    )
    return found.select((pl.col("log") - pl.col("step") - when).exp().fill_null(0.0))["log"]


def _smoothed_rate(chosen: pl.Series, shown: pl.Series, config: ContextConfig) -> pl.Series:
    """Return positive events per impression, drawn to the prior; 1 at most."""
    prior = config.prior_rate * config.prior_impressions
    capped = chosen.zip_with(chosen <= shown, shown)
    return (capped + prior) / (shown + config.prior_impressions)
