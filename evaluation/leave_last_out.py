"""Leave-last-out: each user's newest liked item is to be found among all items they have not seen.

The protocol of logs without pages (MovieLens). The held-out event is the one relevant candidate of
its user's request.
"""

import polars as pl

from features.histories import HistoryConfig, positive_events


def leave_last_out(
    events: pl.DataFrame, *, candidate_items: pl.Series, history: HistoryConfig | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split into events to learn from and each user's last liked candidate item.

    Args:
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        candidate_items: ids that may be recommended. Events on others are history, but are never
            held out.
        history: what is liked; the default when None. A skip, a poor rating or an impression is
            never the right answer.

    Returns:
        `events` without every user's held-out item, nor anything not before it; and user_id,
        item_id, ts of the held-out events, by user. Last means largest (ts, item_id).
    """
    held_out = (
        positive_events(events, config=history or HistoryConfig())
        .filter(pl.col("item_id").is_in(candidate_items.implode()))
        .sort("user_id", "ts", "item_id")
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("item_id", "ts").last())
    )
    train = (
        events.join(
            held_out.rename({"item_id": "held_item", "ts": "held_ts"}),
            on="user_id",
            how="left",
            maintain_order="left",
        )
        .filter(
            pl.col("held_item").is_null()
            | ((pl.col("ts") <= pl.col("held_ts")) & (pl.col("item_id") != pl.col("held_item")))
        )
        .drop("held_item", "held_ts")
    )
    return train, held_out


def newest_liked(
    events: pl.DataFrame,
    *,
    candidate_items: pl.Series,
    limit: int,
    history: HistoryConfig | None = None,
) -> pl.DataFrame:
    """Return the answers to learn from: each user's newest liked candidates.

    Args:
        events: as `leave_last_out` gives them, to learn from.
        candidate_items: ids that may be recommended.
        limit: answers of a user, at most.
        history: what is liked; the default when None.

    Returns:
        request_id ("user/number"), user_id, item_id, ts; by user, then ts and item_id.
    """
    return (
        positive_events(events, config=history or HistoryConfig())
        .filter(pl.col("item_id").is_in(candidate_items.implode()))
        .sort("user_id", "ts", "item_id")
        .group_by("user_id", maintain_order=True)
        .tail(limit)
        .select("user_id", "item_id", "ts")
        .with_columns(number=pl.int_range(pl.len()).over("user_id"))
        .select(
            (pl.col("user_id") + "/" + pl.col("number").cast(pl.String)).alias("request_id"),
            *("user_id", "item_id", "ts"),
        )
    )
