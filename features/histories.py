"""What each user had liked when a request came, newest first.

Legend: R = requests, E = positive events, W = slots looked back, H = `max_items`, P = items of all
histories.
"""

from dataclasses import dataclass

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
    that was acted on twice is there once, at its newest time. An item that becomes known late is
    judged by its own `ts`, for the lake keeps no time of arrival.

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
    positives = positive_events(events, config=config).sort("user_id", "ts", "item_id")
    begin_R, end_R = _event_ranges(requests, positives)
    taken_RH = _newest_distinct(begin_R, end_R, _next_same(positives), config.max_items)
    row_N, slot_N = np.nonzero(taken_RH >= 0)
    event_N = taken_RH[row_N, slot_N]
    flat = pl.DataFrame(
        {
            "request": requests["request"].gather(row_N),
            "items": positives["item_id"].gather(event_N),
            "ages_h": (
                (requests["ts"].gather(row_N) - positives["ts"].gather(event_N)).dt.total_seconds(
                    fractional=True
                )
                / 3600
            ).cast(pl.Float32),
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


@dataclass(frozen=True, slots=True, eq=False)
class Pasts:
    """Histories of requests as columns, one request after another."""

    item_ids: pl.Series
    """[P] newest first within a request."""

    ages_h: np.ndarray
    """[P] float32, hours."""

    first_R: np.ndarray
    """[R + 1] where each request's begins."""

    @classmethod
    def of(cls, histories: pl.DataFrame) -> "Pasts":
        """Lay out the lists that `histories` returns."""
        sizes_R = histories["items"].list.len().to_numpy()
        return cls(
            histories["items"].list.explode(empty_as_null=False),
            histories["ages_h"].list.explode(empty_as_null=False).cast(pl.Float32).to_numpy(),
            np.concatenate([[0], np.cumsum(sizes_R, dtype=np.int64)]),
        )

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
