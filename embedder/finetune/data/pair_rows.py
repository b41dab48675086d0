"""Training pairs as rows: how sources of pairs hand them over, and how rows become contents.

A row names items by id, so that it can be stored and split long before an image is read.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from catalog.lake.tables import TIME, Table
from embedder.content import Content
from embedder.finetune.data.pairs import Pair

PAIRS = Table(
    name="pairs",
    key=("pair_id",),
    columns={
        "pair_id": pl.String,  # digest of source, query_key and target_key
        "source": pl.String,
        "query_key": pl.String,  # equal within a source: the same question
        "target_key": pl.String,  # the target's item_id
        "query_text": pl.String,  # null: the query is an item
        "query_item": pl.String,  # item_id; null: the query is a text
        "target_item": pl.String,
        "target_view": pl.String,  # "whole", or "image": the item without its words
        "weight": pl.Float32,  # evidence for the pair, in the source's own unit, > 0
        "ts": TIME,  # when the evidence was complete; null: it is no event
        # Keys of all targets that answer the query; null: those of the source's rows.
        "answers": pl.List(pl.String),
    },
)


VIEWS = ("whole", "image")


@dataclass(frozen=True, slots=True)
class ReadPairs:
    """What came of rows."""

    pairs: list[Pair]

    skipped: dict[str, str]
    """Why a row gave no pair, by pair_id."""


def pair_rows(found: pl.DataFrame, *, source: str) -> pl.DataFrame:
    """Return the rows in the layout of `PAIRS`, sorted by keys.

    Args:
        found: query_key, target_item and whatever else of `PAIRS` the source knows; one row a
            query_key and target_item.
        source: name of the source.
    """
    defaults = {
        "query_text": pl.lit(None, pl.String),
        "query_item": pl.lit(None, pl.String),
        "target_view": pl.lit("whole"),
        "weight": pl.lit(1.0),
        "ts": pl.lit(None, TIME),
        "answers": pl.lit(None, pl.List(pl.String)),
    }
    missing = {name: value for name, value in defaults.items() if name not in found.columns}
    rows = found.with_columns(
        pl.lit(None, pl.String).alias("pair_id"),
        pl.lit(source).alias("source"),
        pl.col("target_item").alias("target_key"),
        **missing,
    ).select(pl.col(name).cast(dtype) for name, dtype in PAIRS.columns.items())
    return with_pair_ids(rows).sort("query_key", "target_key")


def with_pair_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of `PAIRS`, each that has no pair_id with one of its source and keys."""
    identity = pl.struct("source", "query_key", "target_item").map_elements(
        lambda row: _pair_id(row["source"], row["query_key"], row["target_item"]), pl.String
    )
    return rows.with_columns(pair_id=pl.coalesce("pair_id", identity))


def _pair_id(*names: str) -> str:
    lengths_and_names = "".join(f"{len(name)}:{name}" for name in names)
    return hashlib.blake2b(lengths_and_names.encode(), digest_size=16).hexdigest()


def read_pairs(rows: pl.DataFrame, contents: Mapping[str, Content]) -> ReadPairs:
    """Read pairs of contents, each knowing the other targets of its query.

    A query's answers, unless its row names them, are gathered from all rows of its source, the
    skipped ones as well; a query that is an item counts as its own answer, because it must not be
    pushed away from itself.

    Args:
        rows: layout of `PAIRS`, of one or several sources.
        contents: by item_id, the items that may be trained on. A row with another item is skipped.

    Raises:
        ValueError: a row shows its target in a way that is not known, as those of an earlier
            release may.
    """
    if unknown := sorted(set(rows["target_view"]) - set(VIEWS)):
        raise ValueError(
            f"target_view must be one of {', '.join(VIEWS)}, got {unknown[0]!r}; if an earlier "
            "release wrote these pairs, gather them anew in another folder"
        )
    answers: dict[tuple[str, str], set[str]] = {}
    for source, query, target, item in rows.select(
        "source", "query_key", "target_key", "query_item"
    ).iter_rows():
        known = answers.setdefault((source, query), set())
        known.update(key for key in (target, item) if key is not None)
    shared = {query: frozenset(keys) for query, keys in answers.items()}
    pairs, skipped = [], {}
    for row in rows.iter_rows(named=True):
        reason = _missing(row, contents)
        if reason:
            skipped[row["pair_id"]] = reason
            continue
        query = Content(row["query_text"] or "")
        if row["query_item"] is not None:
            query = contents[row["query_item"]]
        target = contents[row["target_item"]]
        if row["target_view"] == "image":
            target = replace(target, text="", key="")
        keys = (row["query_key"], row["target_key"], row["pair_id"], row["source"])
        named = row["answers"]
        answered = shared[row["source"], row["query_key"]] if named is None else frozenset(named)
        pairs.append(Pair(query, target, *keys, answered))
    return ReadPairs(pairs, skipped)


def _missing(row: Mapping[str, str | None], contents: Mapping[str, Content]) -> str:
    """Say why the row cannot be read; empty when it can."""
    for item_id in (row["query_item"], row["target_item"]):
        if item_id is not None and item_id not in contents:
            return f"item {item_id!r} has no content"
    target = contents[str(row["target_item"])]
    shown = (target.image, target.clip, target.audio)
    if row["target_view"] == "image" and all(each is None for each in shown):
        return f"item {row['target_item']!r} has no image"
    return ""
