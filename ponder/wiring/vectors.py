"""What a model version has embedded, read from the lake."""

from collections.abc import Sequence

import polars as pl

from catalog.lake.embedding_failures import failed_embeddings
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS


def embedded_keys(lake: Lake, version: str) -> pl.DataFrame:
    """Return what the version has embedded, in the key columns of `embeddings`."""
    of_version = lake.scan(EMBEDDINGS).filter(pl.col("model_version") == version)
    return of_version.select(EMBEDDINGS.key).collect()


def failed_keys(lake: Lake, version: str) -> pl.DataFrame:
    """Return what the version has failed to embed, in the key columns of `embeddings`."""
    return failed_embeddings(lake.scan(DEAD_LETTERS), model_version=version)


def living_vectors(lake: Lake, version: str) -> pl.DataFrame:
    """Return the rows of `items` that are not deleted, each with its vector of the version.

    Items whose present content the version has not embedded are left out.
    """
    vectors = (
        lake.scan(EMBEDDINGS)
        .filter(pl.col("model_version") == version)
        .select("item_id", "content_hash", "vector")
    )
    living = lake.scan(ITEMS).filter(~pl.col("deleted"))
    return living.join(vectors, on=["item_id", "content_hash"]).sort("item_id").collect()


def known_vectors(
    lake: Lake, version: str, *, item_ids: Sequence[str] | None = None
) -> pl.DataFrame:
    """Return item_id, vector and model_version of every item that the version ever embedded.

    One row each; only of some items when `item_ids` are given.

    The vector of an item's present content where there is one, else that of an earlier content: a
    history may hold items that have since changed or gone.
    """
    present = lake.scan(ITEMS).select("item_id", present_hash="content_hash")
    wanted = pl.lit(True) if item_ids is None else pl.col("item_id").is_in(item_ids)
    return (
        lake.scan(EMBEDDINGS)
        .filter((pl.col("model_version") == version) & wanted)
        .join(present, on="item_id", how="left")
        .with_columns(is_present=pl.col("content_hash") == pl.col("present_hash"))
        .sort(
            ["item_id", "is_present", "content_hash"],
            descending=[False, True, True],
            nulls_last=True,
        )
        .unique("item_id", keep="first", maintain_order=True)
        .select("item_id", "vector", "model_version")
        .collect()
    )
