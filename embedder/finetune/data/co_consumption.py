"""Pairs of items that the same users liked: one after the other, or by the shape of the graph."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from embedder.finetune.data.interactions import Interactions, interaction_matrix
from embedder.finetune.data.pair_rows import pair_rows


def consecutive_pairs(
    positives: pl.DataFrame,
    *,
    before: datetime,
    max_gap: timedelta,
    min_users: int = 1,
    source: str = "consecutive",
) -> pl.DataFrame:
    """Return a pair from an item to the next one that the same user liked soon after.

    Events on the item itself (a click, then its purchase) are not a next one. Items liked in the
    same microsecond follow each other in the order of their ids.

    Args:
        positives: user_id, item_id, ts: what users liked, in any order.
        before: only events earlier than this moment are used.
        max_gap: the two likes are at most so far apart.
        min_users: pairs of fewer users are left out.
        source: name of the source.

    Returns:
        Layout of `PAIRS`; `weight` is the number of users, `ts` the time of the second like
        of the user that made the pair frequent enough.
    """
    user = positives.filter(pl.col("ts") < before).sort("user_id", "ts", "item_id")
    runs = user.filter(
        (pl.col("item_id") != pl.col("item_id").shift(1).over("user_id")).fill_null(True)
    )
    following = runs.with_columns(
        pl.col("item_id").shift(-1).over("user_id").alias("target_item"),
        pl.col("ts").shift(-1).over("user_id").alias("next_ts"),
    ).filter(pl.col("next_ts") - pl.col("ts") <= max_gap)
    found = (
        following.group_by("item_id", "target_item", "user_id")
        .agg(pl.col("next_ts").min())
        .sort("next_ts", "user_id")
        .group_by("item_id", "target_item", maintain_order=True)
        .agg(pl.len().alias("weight"), pl.col("next_ts").get(min_users - 1, null_on_oob=True))
        .filter(pl.col("weight") >= min_users)
    )
    return pair_rows(_item_queries(found.rename({"next_ts": "ts"})), source=source)


def neighbour_pairs(
    positives: pl.DataFrame,
    similarity: Callable[[csr_array], csr_array],
    *,
    before: datetime,
    num_neighbours: int = 10,
    source: str = "co_consumption",
) -> pl.DataFrame:
    """Return a pair from every item to each of its nearest ones in a graph of who liked what.

    Args:
        positives: user_id, item_id, ts: what users liked, in any order.
        similarity: of items, from users by items: `item_similarity.swing` or `.cosine`.
        before: only events earlier than this moment are used.
        num_neighbours: most pairs that start at one item; ties are broken by item_id.
        source: name of the source.

    Returns:
        Layout of `PAIRS`; `weight` is the similarity, `ts` the last event of all, since every
        one of them may have moved it.
    """
    known = positives.filter(pl.col("ts") < before)
    liked = interaction_matrix(known)
    return pair_rows(
        _item_queries(
            _similar_items(liked, similarity)
            .sort(["item_id", "weight", "target_item"], descending=[False, True, False])
            .group_by("item_id", maintain_order=True)
            .head(num_neighbours)
            .with_columns(pl.lit(known["ts"].max()).alias("ts"))
        ),
        source=source,
    )


def _similar_items(
    liked: Interactions, similarity: Callable[[csr_array], csr_array]
) -> pl.DataFrame:
    """Return item_id, target_item and weight of all pairs with a positive similarity.

    The weight is rounded to float32 before anything is sorted: sums that are equal on paper differ
    in their last digits by the order of their terms, and would then not be ties.
    """
    weights = similarity(liked.liked_UI).tocoo()
    item_ids = pl.Series(liked.item_ids, dtype=pl.String)
    return pl.DataFrame(
        {
            "item_id": item_ids.gather(weights.row),
            "target_item": item_ids.gather(weights.col),
            "weight": weights.data.astype(np.float32),
        }
    ).filter(pl.col("weight") > 0)


def _item_queries(found: pl.DataFrame) -> pl.DataFrame:
    return found.with_columns(
        pl.col("item_id").alias("query_key"), pl.col("item_id").alias("query_item")
    ).drop("item_id")
