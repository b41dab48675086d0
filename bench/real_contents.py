"""Real contents as pairs and queries: product photos by their titles, films by their plots."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from evaluation.query_sets import Query, QuerySet

TEST_SHARE = 5  # of the films, one in so many is asked for and not learned


@dataclass(frozen=True, slots=True)
class RealContents:
    """What is learned from, and what is asked."""

    pairs: list[Pair]
    """In a random order that stays the same: a share of them is a random one."""

    asked: QuerySet


def fashion(folder: Path) -> RealContents:
    """Return titles that ask for photos; the data set's own train and test split."""
    items = pl.read_parquet(folder / "items.parquet")
    rows = items.join(pl.read_parquet(folder / "images.parquet"), on="item_id")
    return _contents(
        rows.select(
            "item_id",
            query="title",
            key="title_key",
            target=pl.col("image_group").cast(pl.String),
            title=pl.lit(""),
            image="image",
            is_test=pl.col("split") == "test",
            is_train=pl.col("split") == "train",
        )
    )


def films(folder: Path) -> RealContents:
    """Return plots that ask for posters with the film's title; one film in five is a test film."""
    items = pl.read_parquet(folder / "items.parquet").filter(pl.col("plot").is_not_null())
    rows = items.join(pl.read_parquet(folder / "images.parquet"), on="item_id")
    is_test = pl.col("item_id").map_elements(
        lambda item_id: _number(item_id) % TEST_SHARE == 0, return_dtype=pl.Boolean
    )
    return _contents(
        rows.select(
            "item_id",
            query="plot",
            key="plot",
            target=pl.col("item_id").cast(pl.String),
            title="title",
            image="image",
            is_test=is_test,
            is_train=~is_test,
        )
    )


REAL_CONTENTS: Mapping[str, Callable[[Path], RealContents]] = {
    "fashion_products": fashion,
    "movielens_posters": films,
}
"""By the name of the data set's folder."""


def _contents(rows: pl.DataFrame) -> RealContents:
    ordered = rows.with_columns(pl.col("item_id").cast(pl.String)).sort(
        pl.col("item_id").map_elements(_number, return_dtype=pl.UInt64), "item_id"
    )
    pairs = [
        Pair(
            Content(row["query"]),
            Content(row["title"], row["image"]),
            query_key=row["key"],
            target_key=row["target"],
            pair_id=f"p{number:05d}",
        )
        for number, row in enumerate(ordered.filter("is_train").iter_rows(named=True))
    ]
    tested = ordered.filter("is_test").sort("item_id")
    right = dict(tested.group_by("key").agg("item_id").iter_rows())
    queries = [
        Query(query_id=item_id, text=text, relevant=sorted(right[key]))
        for item_id, text, key in tested.select("item_id", "query", "key").iter_rows()
    ]
    found = {
        item_id: Content(title, image)
        for item_id, title, image in tested.select("item_id", "title", "image").iter_rows()
    }
    return RealContents(pairs, QuerySet(found, queries))


def _number(item_id: object) -> int:
    return int.from_bytes(hashlib.sha256(str(item_id).encode()).digest()[:8])
