"""What a model version still has to embed, cut into shards."""

import polars as pl


def plan(items: pl.DataFrame, embeddings: pl.DataFrame, *, model_version: str) -> pl.DataFrame:
    """Return the living items that the version has not embedded with their present content.

    Args:
        items: the `items` table.
        embeddings: the `embeddings` table; only its key columns are read.
        model_version: id of the version that is to embed.

    Returns:
        The rows of `items` to embed, by item_id. Empty when nothing is new.
    """
    done = embeddings.filter(pl.col("model_version") == model_version)
    living = items.filter(~pl.col("deleted"))
    return living.join(done, on=["item_id", "content_hash"], how="anti").sort("item_id")


def shards(todo: pl.DataFrame, *, shard_size: int) -> list[pl.DataFrame]:
    """Cut the rows into consecutive pieces of at most `shard_size`.

    Raises:
        ValueError: `shard_size` is not positive.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size must be at least 1, got {shard_size}")
    return [todo.slice(start, shard_size) for start in range(0, len(todo), shard_size)]
