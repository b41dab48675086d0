"""Impressions with what became of them, out of the event log."""

from collections.abc import Mapping

import polars as pl

RELEVANCE: Mapping[str, int] = {"view": 1, "click": 1, "like": 2, "purchase": 2}
"""What an action on a shown item is worth to the ranker; what is not here is worth 0."""


def impressions_from_events(
    events: pl.DataFrame, *, relevance: Mapping[str, int] = RELEVANCE
) -> pl.DataFrame:
    """Return every item shown in a request, and the best that came of it.

    An outcome belongs to an impression when both name the same request and item and it is not
    earlier. The request's time is that of its first impression, so that nothing seen while
    scrolling one page counts as history of its lower half.

    Args:
        events: columns of `catalog.lake.tables.EVENTS`, any order. Impressions without a request_id
            cannot be grouped and are left out.
        relevance: worth of each action, >= 0.

    Returns:
        request_id str, user_id str, item_id str, ts datetime, relevance i32; sorted by ts,
        request_id, item_id. An item shown twice in one request is one impression.
    """
    shown = (
        events.filter((pl.col("action") == "impression") & pl.col("request_id").is_not_null())
        .group_by("request_id", "user_id", "item_id")
        .agg(shown_at=pl.col("ts").min())
        .with_columns(ts=pl.col("shown_at").min().over("request_id"))
    )
    outcomes = events.filter(pl.col("action").is_in(list(relevance))).select(
        "request_id",
        "user_id",
        "item_id",
        done_at="ts",
        worth=pl.col("action").replace_strict(dict(relevance), return_dtype=pl.Int32, default=0),
    )
    keys = ["request_id", "user_id", "item_id"]
    best = (
        shown.join(outcomes, on=keys)
        .filter(pl.col("done_at") >= pl.col("shown_at"))
        .group_by(keys)
        .agg(relevance=pl.col("worth").max())
    )
    return (
        shown.join(best, on=keys, how="left")
        .select(*keys, "ts", pl.col("relevance").fill_null(0))
        .sort("ts", "request_id", "item_id")
    )
