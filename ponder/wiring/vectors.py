"""What a model version has embedded, read from the lake."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.changes import TableFollower
from catalog.lake.embedding_failures import failed_embeddings
from catalog.lake.key_set import KeySet
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import KEYS, embeddings_of, living_items, living_keys
from catalog.lake.living_parts import LivingPart, living_parts
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS, TIME
from features.landings import BEGINNING

if TYPE_CHECKING:
    from recall.vector_search import VectorSearch


def embedded_keys(lake: Lake, version: str, *, where: pl.Expr | None = None) -> pl.DataFrame:
    """Return what the version has embedded, in the key columns of `embeddings`.

    Args:
        lake: its tables.
        version: model version.
        where: only rows that meet it; None: all.
    """
    of_version = lake.scan(EMBEDDINGS).filter(pl.col("model_version") == version)
    if where is not None:
        of_version = of_version.filter(where)
    return of_version.select(EMBEDDINGS.key).collect()


def failed_keys(lake: Lake, version: str) -> pl.DataFrame:
    """Return what the version has failed to embed, in the key columns of `embeddings`."""
    return failed_embeddings(lake.scan(DEAD_LETTERS), model_version=version)


def deleted_items(lake: Lake, *, since: int | None = None) -> pl.Series:
    """Return the ids of the items that were deleted and not landed again.

    Args:
        lake: its tables.
        since: a commit of `items`; only what was deleted later, as far as that is still known.
            None: whatever was deleted.
    """
    changes = TableFollower(lake, ITEMS, ("item_id", "deleted"), since=since).changes()
    if changes is None:
        return pl.Series("item_id", [], dtype=pl.String)
    return changes.added.filter("deleted").select("item_id").collect()["item_id"]


def living_vectors(lake: Lake, version: str, *, held: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the rows of `items` that are not deleted, each with its vector of the version.

    An item whose present content is not embedded yet keeps the vector of an earlier content. Items
    of which the version has embedded nothing are left out.

    Args:
        lake: its tables.
        version: model version.
        held: item_id and content_hash of what the version's collection holds. Of several earlier
            contents the one in it is kept; any of them, the same each time, when it is None.

    Returns:
        The columns of `items` and two more, in order of item_id; `content_hash` is of the content
        that the vector was made of.
            vector             list[f32]
            awaits_embedding   bool, true where that is an earlier content
    """
    vectors = embeddings_of(lake, version).select(*KEYS, "vector")
    return (
        living_items(lake)
        .drop("content_hash")
        .join(living_keys(lake, version, held=held).join(vectors, on=KEYS), on="item_id")
        .select(*ITEMS.schema.names(), "vector", "awaits_embedding")
        .sort("item_id")
        .collect()
    )


def embedded_dim(lake: Lake, version: str) -> int | None:
    """Return D of a version; None when it has embedded no living item."""
    embedded = embeddings_of(lake, version)
    living = living_items(lake).select("item_id")
    for ids in embedded.select("item_id").collect_batches(lazy=True):  # the first one will do
        if len(living.join(ids.lazy(), on="item_id", how="semi").head(1).collect()):
            return int(embedded.select(pl.col("vector").list.len()).head(1).collect().item())
    return None


def embedded_counts(lake: Lake) -> dict[str, int]:
    """Return how many living items each version has embedded, by version."""
    embedded = lake.scan(EMBEDDINGS).select("model_version", "item_id")
    return KeySet.of(living_items(lake), ["item_id"]).counts(embedded, by="model_version")


def index_parts(
    lake: Lake, index: "VectorSearch", version: str, *, with_vectors: bool = True
) -> Iterator[LivingPart]:
    """Yield what should be searched of a version and what is, a range of ids at a time."""
    from recall.rows import METADATA
    from recall.vector_search import KEYS

    is_there = version in index.versions()
    return living_parts(
        lake,
        version,
        columns=[name for name in METADATA if name != "content_hash"],
        held_of=lambda ids: index.keys(version, ids) if is_there else KEYS.to_frame(),
        with_vectors=with_vectors,
    )


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


def vectors_over_time(lake: Lake, version: str, histories: pl.DataFrame) -> pl.DataFrame:
    """Return the vectors of the version that each item had, and since when.

    A content that the version has not embedded leaves the vector of the one before. An item of
    which it has embedded no content that is known of, such as one that landed in an earlier
    release, has the vector of `known_vectors` all along.

    Args:
        lake: its tables.
        version: model version.
        histories: of all items, as of `features.landings.item_histories`.

    Returns:
        item_id, vector, model_version, and `since` if an item has several.
    """
    states = histories.select(*KEYS, "since").filter(
        (pl.col("content_hash") != pl.col("content_hash").shift().over("item_id")).fill_null(True)
    )
    embedded = embeddings_of(lake, version).select(KEYS).collect()
    states = states.join(embedded, on=KEYS, how="semi", maintain_order="left")
    several = states.filter(pl.len().over("item_id") > 1)
    if several.is_empty():
        return known_vectors(lake, version)
    is_first = pl.int_range(pl.len()).over("item_id") == 0
    several = several.with_columns(since=pl.when(is_first).then(BEGINNING).otherwise("since"))
    changed = embeddings_of(lake, version).select(*KEYS, "vector", "model_version")
    dated = several.lazy().join(changed, on=KEYS).collect()
    others = known_vectors(lake, version).join(several, on="item_id", how="anti")
    columns = ["item_id", "vector", "model_version", "since"]
    since = pl.lit(BEGINNING, TIME).alias("since")
    return pl.concat(
        [others.with_columns(since).select(columns), dated.cast({"since": TIME}).select(columns)]
    ).sort("item_id", "since")
