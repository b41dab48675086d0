"""Context features: what is known of user and item apart from any vector, as of the request.

These are the base against which match features are measured. The position at which an item was
shown is not among them: it is known only once the ranker has spoken.

Legend: N = impressions.
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


@dataclass(frozen=True, slots=True, eq=False)
class EarlierCounts:
    """How many events there were besides those that are given, all before any request."""

    shown: pl.DataFrame
    """item_id, earlier: impressions of each item."""

    by_user: pl.DataFrame
    """user_id, earlier: events of each user."""

    @classmethod
    def nothing(cls) -> "EarlierCounts":
        """Return counts of no events."""
        count = {"earlier": pl.UInt32}
        return cls(
            pl.DataFrame(schema={"item_id": pl.String, **count}),
            pl.DataFrame(schema={"user_id": pl.String, **count}),
        )


def context_features(
    impressions: pl.DataFrame,
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    config: ContextConfig | None = None,
    earlier: EarlierCounts | None = None,
) -> pl.DataFrame:
    """Compute counts, rates and ages of each candidate and its user, from events strictly before.

    Args:
        impressions: request_id, user_id, item_id, ts; one row per candidate, any order.
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        items: item_id, category, price, created_at; one row per item, or several that differ in
            `since`, as `features.landings.item_histories` gives them. A candidate is described as
            of its request, a liked item as of when it was liked.
        config: rates and half-life; the defaults when None.
        earlier: of events that are none of `events`, which must hold all positive ones.

    Returns:
        One row per impression, same order, with the "context" columns of `features.schema`.
        Of an item that is not in `items` age, price and category are null, and so is the age of
        one that is not created yet.
    """
    config, earlier = config or ContextConfig(), earlier or EarlierCounts.nothing()
    positives = positive_events(events, config=config.history)
    asked = described(impressions.select("user_id", "item_id", "ts"), items)
    liked = described(positives.select("user_id", "item_id", "ts"), items)
    category_N = asked["category"].is_not_null().to_numpy()
    in_category = count_before(asked, liked.drop_nulls("category"), by=["user_id", "category"])
    age_h = (asked["ts"] - asked["created_at"]).dt.total_seconds(fractional=True) / 3600
    shown = events.filter(pl.col("action") == "impression")
    known = ContextCounts(
        item_impressions=_in_all(
            count_before(asked, shown, by=["item_id"]), asked["item_id"], earlier.shown
        ),
        item_positives=count_before(asked, positives, by=["item_id"]).to_numpy(),
        item_popularity=decayed_count(
            asked, positives, half_life_days=config.popularity_half_life_days
        ).to_numpy(),
        item_age_h=_floats(age_h),
        item_price=_floats(asked["price"]),
        user_events=_in_all(
            count_before(asked, events, by=["user_id"]),
            asked["user_id"],
            earlier.by_user,
        ),
        user_positives=count_before(asked, positives, by=["user_id"]).to_numpy(),
        user_in_category=np.where(category_N, in_category.to_numpy(), np.nan),
    )
    return pl.DataFrame(context_columns(known, config=config))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContextCounts:
    """What was counted strictly before each request, and what its item was then; NaN: unknown."""

    item_impressions: np.ndarray
    """[N], of the item."""

    item_positives: np.ndarray
    """[N], of the item."""

    item_popularity: np.ndarray
    """[N], positive events on the item, each weighing 2^(-age / half life)."""

    item_age_h: np.ndarray
    """[N] hours since it was created; negative where that is to come."""

    item_price: np.ndarray
    """[N], in the catalogue's unit."""

    user_events: np.ndarray
    """[N], of the user."""

    user_positives: np.ndarray
    """[N], of the user."""

    user_in_category: np.ndarray
    """[N] positive events of the user on items that were of the candidate's category when they
    were liked."""


def context_columns(known: ContextCounts, *, config: ContextConfig) -> dict[str, pl.Series]:
    """Return the "context" columns of `features.schema`, of counts however they were come by."""
    chosen_N, shown_N = known.item_positives, known.item_impressions
    prior = config.prior_rate * config.prior_impressions
    rate_N = (np.minimum(chosen_N, shown_N) + prior) / (shown_N + config.prior_impressions)
    age_N = np.where(known.item_age_h < 0, np.nan, known.item_age_h)
    share_N = known.user_in_category / np.where(known.user_positives, known.user_positives, np.nan)
    return {
        "item_impressions": pl.Series(shown_N, dtype=pl.UInt32),
        "item_positives": pl.Series(chosen_N, dtype=pl.UInt32),
        "item_rate": _column(rate_N),
        "item_popularity": _column(known.item_popularity),
        "item_age_h": _column(age_N),
        "item_price": _column(known.item_price),
        "user_events": pl.Series(known.user_events, dtype=pl.UInt32),
        "user_positives": pl.Series(known.user_positives, dtype=pl.UInt32),
        "user_category_share": _column(share_N),
    }


def _column(values_N: np.ndarray) -> pl.Series:
    return pl.Series(values_N.astype(np.float32), nan_to_null=True)


def _floats(values: pl.Series) -> np.ndarray:
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()


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


def _in_all(counted: pl.Series, ids: pl.Series, earlier: pl.DataFrame) -> np.ndarray:
    """Return counts with those of earlier events of the same id."""
    if earlier.is_empty():
        return counted.to_numpy()
    before = ids.to_frame().join(earlier, on=ids.name, how="left", maintain_order="left")
    return (counted + before["earlier"].fill_null(0)).to_numpy()


def decayed_count(asked: pl.DataFrame, events: pl.DataFrame, *, half_life_days: float) -> pl.Series:
    """Count events on the item before each row's `ts`, each weighing 2^(-age / half life).

    To the last bit the same whatever happened to other items, or later.
    """
    sums = running_sums(events, half_life_days=half_life_days)
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
    age_us = (found["ts"] - found["last"]).dt.total_microseconds()
    weight_N = decay(_floats(age_us), half_life_days=half_life_days)
    return pl.Series(found["sum"].to_numpy() * weight_N).fill_nan(None).fill_null(0.0)


def decay(age_us: np.ndarray, *, half_life_days: float) -> np.ndarray:
    """Return 2^(-age / half life)."""
    return np.exp(age_us * (_per_microsecond(half_life_days) * math.log(2)))


def running_sums(events: pl.DataFrame, *, half_life_days: float) -> pl.DataFrame:
    """Return item_id, ts and `sum`: of each event and those of its item before, decayed until then.

    In order of item_id and ts.
    """
    ordered = events.select("item_id", "ts").sort("item_id", "ts")
    sum_N = _decayed_sums(ordered, _per_microsecond(half_life_days))
    return ordered.with_columns(sum=pl.Series(sum_N, dtype=pl.Float64))


def _per_microsecond(half_life_days: float) -> float:
    return -1 / (half_life_days * 86_400_000_000)


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
