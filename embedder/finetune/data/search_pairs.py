"""Pairs from search: what was asked for, and what was then taken from the page."""

from datetime import datetime

import polars as pl

from embedder.finetune.data.pair_rows import pair_rows


def search_pairs(
    searches: pl.DataFrame, positives: pl.DataFrame, *, before: datetime, source: str = "search"
) -> pl.DataFrame:
    """Return a pair for every text that was searched and item that was taken from its page.

    Texts that differ in case or spaces alone ask the same.

    Args:
        searches: request_id and text, one row a request; blank texts are left out.
        positives: rows of `catalog.lake.tables.EVENTS` that speak for their item.
        before: only events earlier than this moment are used.
        source: name of the source.

    Returns:
        Layout of `PAIRS`; `weight` is the number of users, `ts` the first time.
    """
    text = pl.col("text").str.strip_chars().str.replace_all(r"\s+", " ")
    asked = searches.select("request_id", text.alias("query_text")).filter(
        pl.col("query_text") != ""
    )
    found = (
        positives.filter(pl.col("ts") < before)
        .join(asked, on="request_id")
        .sort("ts", "event_id")
        .group_by(pl.col("query_text").str.to_lowercase().alias("query_key"), "item_id")
        .agg(
            pl.col("query_text").first(),
            pl.col("user_id").n_unique().alias("weight"),
            pl.col("ts").first(),
        )
    )
    return pair_rows(found.rename({"item_id": "target_item"}), source=source)
