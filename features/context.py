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

    Args:
        impressions: request_id, user_id, item_id, ts; one row per candidate, any order.
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        items: item_id, category, price, created_at; one row per item, or several that differ in
            `since`, as `features.landings.item_histories` gives them. A candidate is described as
            of its request, a liked item as of when it was liked.
        config: rates and half-life; the defaults when None.

    Returns:
        One row per impression, same order, with the "context" columns of `features.schema`.
        Of an item that is not in `items` age, price and category are null, and so is the age of
        one that is not created yet.
    """
    config = config or ContextConfig()
    positives = positive_events(events, config=config.history)
    asked = described(impressions.select("user_id", "item_id", "ts"), items)
    liked = described(positives.select("user_id", "item_id", "ts"), items)
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
            "item_price": asked["price"].cast(pl.Float32),
            "user_events": count_before(asked, events, by=["user_id"]),
            "user_positives": user_chosen,
            "user_category_share": (in_category / user_chosen.replace(0, None)).cast(pl.Float32),
        }
    )


def described(rows: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Add to each row what its item was just before its `ts`: category, price, created_at."""
    if "price" not in items.columns:
        items = items.with_columns(price=pl.lit(None, pl.Float64))
    about = items.select("item_id", "category", "price", "created_at")
    if "since" not in items.columns:
        return rows.join(about, on="item_id", how="left", maintain_order="left", validate="m:1")
    return (
        rows.with_row_index("row")
        .sort("ts")
        .join_asof(
            about.with_columns(items["since"]).sort("since"),
            left_on="ts",
            right_on="since",
            by="item_id",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,  # cannot be checked per key; both sides are sorted above
        )
        .sort("row")
        .drop("row", "since")
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

    To the last bit the same whatever happened to other items, or later.
    """
    rate = -1 / (half_life_days * 86_400_000_000)  # per microsecond
    ordered = events.select("item_id", "ts").sort("item_id", "ts")
    sums = ordered.with_columns(sum=pl.Series(_decayed_sums(ordered, rate), dtype=pl.Float64))
    found = (
        asked.select("item_id", "ts")
        .with_row_index("row")
        .sort("ts")
        .join_asof(
            sums.with_columns(last="ts").sort("ts", maintain_order=True),
            on="ts",
            by="item_id",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,  # cannot be checked per key; both sides are sorted above
        )
        .sort("row")
    )
    age = (found["ts"] - found["last"]).dt.total_microseconds()
    return (found["sum"] * (age * (rate * math.log(2))).exp()).fill_null(0.0)


def _decayed_sums(ordered: pl.DataFrame, rate: float) -> np.ndarray:
    """Return [N] sum over each event and those of its item before, each weighing 2^(rate * age).

    Sums of 1, 2, 4, ... events are put together, counted from an item's first event, so that an
    item's sums are made of nothing else.

    Args:
        ordered: item_id, ts; by item, and within one by time.
        rate: per microsecond, < 0.
    """
    ts_N = ordered["ts"].to_physical().to_numpy()
    place = pl.int_range(pl.len()).over("item_id")
    place_N = ordered.select(place).to_series().to_numpy()
    sum_N = np.ones(len(ordered))
    step = 1
    while len(reached := np.flatnonzero(place_N >= step)):
        earlier = reached - step
        weight = np.exp2((ts_N[reached] - ts_N[earlier]) * rate)
        sum_N[reached] = sum_N[reached] + sum_N[earlier] * weight
        step *= 2
    return sum_N


def _smoothed_rate(chosen: pl.Series, shown: pl.Series, config: ContextConfig) -> pl.Series:
    """Return positive events per impression, drawn to the prior; 1 at most."""
    prior = config.prior_rate * config.prior_impressions
    capped = chosen.zip_with(chosen <= shown, shown)
    return (capped + prior) / (shown + config.prior_impressions)
