"""What a model version still has to embed, cut into shards."""

import hashlib

import polars as pl


def plan(items: pl.DataFrame, embeddings: pl.DataFrame, *, model_version: str) -> pl.DataFrame:
    """The living items that the version has not embedded with their present content.

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
    """The rows in consecutive pieces of at most `shard_size`.

    Raises:
        ValueError: `shard_size` is not positive.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size must be at least 1, got {shard_size}")
    return [todo.slice(start, shard_size) for start in range(0, len(todo), shard_size)]


def shard_id(shard: pl.DataFrame, *, model_version: str) -> str:
    """A name made of what the shard holds, so that the same work has the same name in every run."""
    digest = hashlib.blake2b(model_version.encode(), digest_size=8)
    for item_id, content_hash in shard.select("item_id", "content_hash").iter_rows():
        digest.update(f"\0{item_id}\0{content_hash}".encode())
    return digest.hexdigest()
