"""Sequences of users: what they liked next, after what they had liked before."""

from datetime import datetime

import polars as pl


def sequences(positives: pl.DataFrame, *, before: datetime, max_items: int = 10) -> pl.DataFrame:
    """Return a row for every like that has earlier ones: the last of them, and what followed.

    An item counts once, when it was first liked, so that a purchase does not follow from the click
    on the same item. Likes of the same microsecond are not earlier than each other.

    SAIL-Embedding (section 3.3.5) takes the 10 items before the most recent one of every user;
    here every like is a target, for logs are smaller than Douyin's. Its filters by similarity to
    the target are left out: they need labels of behaviour that a log does not have.

    Args:
        positives: user_id, item_id, ts: what users liked, in any order.
        before: only events earlier than this moment are used.
        max_items: most items before the target.

    Returns:
        user_id str, ts datetime (of the target), items list[str] (oldest first, never empty),
        target str; sorted by user_id, ts, target.
    """
    likes = (
        positives.filter(pl.col("ts") < before)
        .group_by("user_id", "item_id")
        .agg(pl.col("ts").min())
        .sort("user_id", "ts", "item_id")
        .with_row_index("row")
        .with_columns(pl.col("row").cast(pl.Int64))
    )
    begin = pl.col("row").min().over("user_id")
    end = begin + pl.col("ts").rank("min").over("user_id").cast(pl.Int64) - 1
    earlier = (
        likes.select(
            "row", pl.max_horizontal(begin, end - max_items).alias("from"), end.alias("to")
        )
        .filter(pl.col("from") < pl.col("to"))
        .select("row", pl.int_ranges("from", "to").alias("place"))
        .explode("place")
    )
    items = earlier.with_columns(likes["item_id"].gather(earlier["place"]).alias("items"))
    lists = items.group_by("row", maintain_order=True).agg("items")
    return lists.join(likes, on="row", maintain_order="left").select(
        "user_id", "ts", "items", pl.col("item_id").alias("target")
    )
