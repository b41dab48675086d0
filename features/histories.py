"""What each user had liked when a request came, newest first.

Legend: R = requests, E = positive events, W = slots looked back, H = `max_items`, P = items of all
histories.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryConfig:
    """Which events speak for an item, and how many of them are kept."""

    max_items: int = 50
    """Distinct items kept per request."""

    positive_actions: tuple[str, ...] = ("click", "like", "purchase", "view")
    """Actions that count whatever their value."""

    min_rating: float = 3.5
    """A `rating` counts from this value on, in the units of the source (MovieLens: 0.5 to 5)."""

    strong_actions: tuple[str, ...] = ("like", "purchase", "rating")
    """Of what counts, the actions that say more than a click: they are worth 2 to a ranker, too."""

    skip_actions: tuple[str, ...] = ("skip",)
    """Actions that speak against an item whatever their value."""

    max_low_rating: float = 2.0
    """A `rating` that does not count speaks against its item up to this value; between the two it
    says neither."""

    def __post_init__(self) -> None:
        if self.max_items <= 0:
            raise ValueError(f"max_items must be > 0, got {self.max_items}")


def positive_events(events: pl.DataFrame, *, config: HistoryConfig) -> pl.DataFrame:
    """Return the rows of `events` (see `tables.EVENTS`) that speak for their item, in order.

    This is what *liked* means everywhere. Events without the column `value` hold no ratings.
    """
    if "value" in events.columns:
        return events.filter(is_positive(config))
    return events.filter(pl.col("action").is_in(config.positive_actions))


def is_positive(config: HistoryConfig) -> pl.Expr:
    """Return the rule of `positive_events`, for events with the columns `action` and `value`."""
    is_high = (pl.col("action") == "rating") & (pl.col("value") >= config.min_rating)
    return pl.col("action").is_in(config.positive_actions) | is_high.fill_null(False)


def is_strong(config: HistoryConfig) -> pl.Expr:
    """Return the rule of what is liked strongly, for events that are positive."""
    return pl.col("action").is_in(config.strong_actions)


def skipped_events(events: pl.DataFrame, *, config: HistoryConfig) -> pl.DataFrame:
    """Return the rows of `events` that speak against their item, in order.

    Events without the column `value` hold no ratings.
    """
    if "value" in events.columns:
        return events.filter(is_skipped(config))
    return events.filter(pl.col("action").is_in(config.skip_actions))


def is_skipped(config: HistoryConfig) -> pl.Expr:
    """Return the rule of `skipped_events`, for events with the columns `action` and `value`."""
    value = pl.col("value")
    is_low = (
        (pl.col("action") == "rating")
        & (value <= config.max_low_rating)
        & (value < config.min_rating)
    )
    return pl.col("action").is_in(config.skip_actions) | is_low.fill_null(False)


def liked_items(events: pl.DataFrame, *, config: HistoryConfig | None = None) -> list[str]:
    """Return one user's liked items, newest first, each once; ties by item id, descending.

    The order of `histories`, for what asks of one user as of now.
    """
    positives = positive_events(events, config=config or HistoryConfig())
    newest_first = positives.sort("ts", "item_id", descending=True)
    return newest_first["item_id"].unique(maintain_order=True).to_list()


def histories(
    requests: pl.DataFrame, events: pl.DataFrame, *, config: HistoryConfig | None = None
) -> pl.DataFrame:
    """Return the last positive items of each request's user, strictly before the request.

    An event of the same microsecond is not history: it may be the answer to the request. An item
    that was acted on twice is there once, at its newest time. An event that became known
    late has the time from which on it counted, as `features.pages.pages_of` dates it.

    Args:
        requests: request, user_id, ts; one row per request, see `features.requests`.
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        config: what is positive and how much is kept; the defaults when None.

    Returns:
        One row per request, same order:
            request    as it came
            items      list[str]  newest first, at most `max_items`; ties by item id, descending.
                                  Empty when the user has no positive event yet.
            ages_h     list[f32]  hours from the event to the request, > 0, beside `items`
    """
    config = config or HistoryConfig()
    past = pasts(requests, positive_events(events, config=config), max_items=config.max_items)
    flat = pl.DataFrame(
        {
            "request": requests["request"].gather(past.request_P),
            "items": past.item_ids,
            "ages_h": past.ages_h,
        }
    )
    lists = flat.group_by("request", maintain_order=True).agg("items", "ages_h")
    return (
        requests.select("request")
        .join(lists, on="request", how="left", maintain_order="left")
        .with_columns(
            pl.col("items").fill_null(pl.lit([], pl.List(pl.String))),
            pl.col("ages_h").fill_null(pl.lit([], pl.List(pl.Float32))),
        )
    )


def pasts(requests: pl.DataFrame, events: pl.DataFrame, *, max_items: int) -> "Pasts":
    """Return the newest items of such events before each request, as of `histories`.

    Args:
        requests: as of `histories`.
        events: user_id, item_id, ts, all of which count; and `is_strong` and `category` where that
            is to be told of each.
        max_items: distinct items kept of a request.
    """
    order = ["user_id", "ts", "item_id", *(["is_strong"] if "is_strong" in events.columns else [])]
    ordered = events.sort(order)
    begin_R, end_R = _event_ranges(requests, ordered)
    taken_RH = _newest_distinct(begin_R, end_R, _next_same(ordered), max_items)
    row_P, slot_P = np.nonzero(taken_RH >= 0)
    found = ordered[taken_RH[row_P, slot_P]]
    age = requests["ts"].gather(row_P) - found["ts"]
    ages_h = (age.dt.total_seconds(fractional=True) / 3600).cast(pl.Float32)
    first_R = np.searchsorted(row_P, np.arange(len(requests) + 1))
    return Pasts.of_rows(found, ages_h.to_numpy(), first_R)


@dataclass(frozen=True, slots=True, eq=False)
class Pasts:
    """Histories of requests as columns, one request after another."""

    item_ids: pl.Series
    """[P] newest first within a request."""

    ages_h: np.ndarray
    """[P] float32, hours."""

    first_R: np.ndarray
    """[R + 1] where each request's begins."""

    is_strong_P: np.ndarray
    """Whether each was liked strongly; of several events on an item, as the newest says."""

    categories: pl.Series
    """[P] of each item when it was acted on; null: unknown."""

    @classmethod
    def of_rows(cls, rows: pl.DataFrame, ages_h: np.ndarray, first_R: np.ndarray) -> "Pasts":
        """Take the columns item_id, and of is_strong and category what there is."""
        nothing = pl.Series([None], dtype=pl.String).new_from_index(0, len(rows))
        return cls(
            rows["item_id"],
            ages_h,
            first_R,
            rows["is_strong"].to_numpy()
            if "is_strong" in rows.columns
            else np.zeros(len(rows), dtype=bool),
            rows["category"] if "category" in rows.columns else nothing,
        )

    @classmethod
    def of(cls, histories: pl.DataFrame) -> "Pasts":
        """Lay out the lists that `histories` returns."""
        sizes_R = histories["items"].list.len().to_numpy()
        return cls.of_rows(
            histories.select(item_id=pl.col("items").list.explode(empty_as_null=False)),
            histories["ages_h"].list.explode(empty_as_null=False).cast(pl.Float32).to_numpy(),
            np.concatenate([[0], np.cumsum(sizes_R, dtype=np.int64)]),
        )

    def nothing(self) -> "Pasts":
        """Return histories of the same requests that hold nothing."""
        rows = pl.DataFrame(schema={"item_id": pl.String})
        return Pasts.of_rows(rows, np.zeros(0, dtype=np.float32), np.zeros_like(self.first_R))

    def named(self, names: pl.Series) -> "Pasts":
        """Return the same under other names of the items."""
        return replace(self, item_ids=names)

    @property
    def size_R(self) -> np.ndarray:
        """[R] items of each history."""
        return np.diff(self.first_R)

    @property
    def request_P(self) -> np.ndarray:
        """[P] number of the request of each item."""
        return np.repeat(np.arange(len(self.first_R) - 1), self.size_R)


def _event_ranges(requests: pl.DataFrame, positives: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return [R] first and past-the-last row of `positives` that each request may see."""
    seen = positives.with_row_index("row").select(
        "user_id", "ts", (pl.col("row") + 1).cast(pl.Int64).alias("end")
    )
    start = seen.group_by("user_id").agg((pl.col("end").min() - 1).alias("begin"))
    ranges = (
        requests.with_row_index("request_row")
        .sort("ts")
        .join_asof(
            seen.sort("ts", maintain_order=True),
            on="ts",
            by="user_id",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,  # cannot be checked per user; both sides are sorted above
        )
        .join(start, on="user_id", how="left")
        .with_columns(pl.col("begin").fill_null(0))
        .with_columns(pl.col("end").fill_null(pl.col("begin")))
        .sort("request_row")
    )
    return ranges["begin"].to_numpy(), ranges["end"].to_numpy()


def _next_same(positives: pl.DataFrame) -> np.ndarray:
    """Return [E] row of the user's next event on the same item; E when there is none."""
    following = positives.with_row_index("row").select(
        pl.col("row").cast(pl.Int64).shift(-1).over("user_id", "item_id").fill_null(len(positives))
    )
    return following["row"].to_numpy()


def _newest_distinct(
    begin_R: np.ndarray, end_R: np.ndarray, next_same_E: np.ndarray, max_items: int
) -> np.ndarray:
    """Return [R, H] rows of the newest event of each of the newest items, newest first; -1 pads.

    An event is its item's newest exactly when the next one on that item lies past the request.
    Looks back over twice as many events until every request has enough items or no more events.
    """
    taken_RH = np.full((len(end_R), max_items), -1, dtype=np.int64)
    todo_R = np.flatnonzero(end_R > begin_R)
    width = max_items
    while len(todo_R):
        row_RW = end_R[todo_R, None] - 1 - np.arange(width)
        inside_RW = row_RW >= begin_R[todo_R, None]
        newest_RW = inside_RW & (next_same_E[np.where(inside_RW, row_RW, 0)] >= end_R[todo_R, None])
        slot_RW = np.cumsum(newest_RW, axis=1) - 1
        kept_N, look_N = np.nonzero(newest_RW & (slot_RW < max_items))
        taken_RH[todo_R[kept_N], slot_RW[kept_N, look_N]] = row_RW[kept_N, look_N]
        todo_R = todo_R[(slot_RW[:, -1] + 1 < max_items) & inside_RW[:, -1]]
        width *= 2
    return taken_RH
