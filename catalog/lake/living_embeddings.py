"""Which embedding of a model version stands for an item: that of its present content, if there is.

An item whose present content is not embedded yet keeps the vector of an earlier content; an item of
which the version has embedded nothing, or that was deleted, has none.
"""

import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, ITEMS

KEYS = ["item_id", "content_hash"]


def embeddings_of(lake: Lake, version: str) -> pl.LazyFrame:
    """Scan what the version has embedded."""
    return lake.scan(EMBEDDINGS).filter(pl.col("model_version") == version)


def living_items(lake: Lake) -> pl.LazyFrame:
    """Scan the items that are not deleted."""
    return lake.scan(ITEMS).filter(~pl.col("deleted"))


def living_keys(lake: Lake, version: str, *, held: pl.DataFrame | None = None) -> pl.LazyFrame:
    """Return which contents' vectors stand for the living items; see `present_keys`."""
    living = living_items(lake).select("item_id", present_hash="content_hash")
    return present_keys(embeddings_of(lake, version).select(KEYS), living, held=held)


def present_keys(
    embedded: pl.LazyFrame, living: pl.LazyFrame, *, held: pl.DataFrame | None
) -> pl.LazyFrame:
    """Return which contents' vectors stand for items, one row each, without the vectors.

    Args:
        embedded: item_id and content_hash of what the version has embedded.
        living: item_id and present_hash, the hash of the present content, of the living items.
        held: item_id and content_hash of what is held already. Of several earlier contents the one
            in it is kept; any of them, the same each time, when it is None.

    Returns:
        In order of item_id.
            item_id           str
            content_hash      str, of the content that the vector was made of
            awaits_embedding  bool, true where that is an earlier content
    """
    held_keys = EMBEDDINGS.empty().select(KEYS) if held is None else held.select(KEYS)
    return (
        embedded.join(living, on="item_id")
        .join(held_keys.lazy().with_columns(is_held=True), on=KEYS, how="left")
        .with_columns(awaits_embedding=pl.col("content_hash") != pl.col("present_hash"))
        .sort(
            ["item_id", "awaits_embedding", "is_held", "content_hash"],
            descending=[False, False, True, True],
            nulls_last=True,
        )
        .unique("item_id", keep="first", maintain_order=True)
        .select(*KEYS, "awaits_embedding")
    )
