"""Rows as the index takes them: checked, hashed, and cut into writes of bounded size.

Shape legend: N = rows, D = embedding dimension.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from recall.collection import MAX_STRING_BYTES, MAX_TAGS

logger = logging.getLogger(__name__)

METADATA = ("content_hash", "category", "tags", "attributes", "created_at", "codes")


def vector_matrix(vectors: pl.Series, *, dim: int) -> np.ndarray:
    """Return [N, D] float32 a column of vectors, checked.

    Milvus Lite takes NaN and zero vectors without a word and then ranks at random, so they are
    refused here.

    Raises:
        ValueError: a vector is null, has another length than `dim`, is not finite or is zero.
    """
    wrong = (vectors.list.len() != dim).fill_null(True)
    if wrong.any():
        row = wrong.arg_max() or 0
        got = None if vectors[row] is None else len(vectors[row])
        raise ValueError(
            f"{wrong.sum()} vectors do not have dim {dim}, first in row {row} with {got}; "
            "embed the items with the version that the collection belongs to"
        )
    matrix_ND = vectors.cast(pl.Array(pl.Float32, dim)).to_numpy()
    check_vectors(matrix_ND, dim=dim)
    return matrix_ND


def norms(vectors_ND: np.ndarray) -> np.ndarray:
    """Return [N] float64 the length of each vector, without a copy of them all in float64."""
    return np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND, dtype=np.float64))


def check_vectors(vectors_ND: np.ndarray, *, dim: int) -> None:
    """Refuse vectors without a direction.

    Raises:
        ValueError: the vectors are not [N, dim], or one is not finite or is zero.
    """
    if vectors_ND.ndim != 2 or vectors_ND.shape[1] != dim:
        raise ValueError(f"vectors must have shape (N, {dim}), got {vectors_ND.shape}")
    norm_N = norms(vectors_ND)
    bad_N = ~np.isfinite(norm_N) | (norm_N == 0)
    if bad_N.any():
        raise ValueError(
            f"vectors must be finite and not zero, got {bad_N.sum()} others, "
            f"first in row {bad_N.argmax()} with norm {norm_N[bad_N.argmax()]}"
        )


def index_rows(rows: pl.DataFrame, *, dim: int) -> pl.DataFrame:
    """Return rows that Milvus will take, each with the hash that tells whether it has changed.

    Args:
        rows: as `metadata_rows` takes them, and
            vector       list[f32], of length `dim`
        dim: D of the model version.

    Returns:
        What `metadata_rows` returns, and the vectors.

    Raises:
        ValueError: an item is listed twice, or a vector is no good.
    """
    vector_matrix(rows["vector"], dim=dim)
    return metadata_rows(rows).with_columns(rows["vector"])


def metadata_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows as Milvus can hold them, but for their vectors, each with its hash.

    What Milvus could not hold is left out rather than cut short, because a filter on half a value
    would lie: an over-long tag is dropped, and tags beyond 4,096; an over-long category becomes
    null; an over-large set of attributes keeps those that a filter can ask for, the smallest first.
    The items are logged, the first of them by id.

    Args:
        rows: one row per item.
            item_id      str
            content_hash str, of the content that the vector was made of
            category     str, nullable
            tags         list[str]
            attributes   str, a JSON object
            created_at   datetime[us, UTC]
            codes        str, as of `catalog.lake.living_parts`; empty where it has none

    Returns:
        The same columns, with created_at as i64 (microseconds since 1970), and row_hash (str, 32
        hexadecimal digits) of everything but the vector: within one model version the content
        hash stands for that.

    Raises:
        ValueError: an item is listed twice.
    """
    repeated = rows.filter(pl.col("item_id").is_duplicated())["item_id"].sort()
    if len(repeated):
        raise ValueError(f"item_id must be unique, got {repeated[0]!r} more than once")
    kept = rows.select("item_id", *METADATA).with_columns(
        pl.when(pl.col("category").str.len_bytes() <= MAX_STRING_BYTES).then("category"),
        pl.col("tags")
        .list.eval(pl.element().filter(pl.element().str.len_bytes() <= MAX_STRING_BYTES))
        .list.head(MAX_TAGS),
        pl.Series("attributes", map(filterable, rows["attributes"]), dtype=pl.String),
        pl.col("created_at").dt.epoch("us"),
    )
    trimmed = [rows[name].ne_missing(kept[name]) for name in ("category", "tags", "attributes")]
    if ids := rows["item_id"].filter(trimmed[0] | trimmed[1] | trimmed[2]).sort().to_list():
        logger.warning("metadata too large for the index: items=%d first=%s", len(ids), ids[:5])
    hashes = [_row_hash(row) for row in kept.select(METADATA).iter_rows()]
    return kept.with_columns(pl.Series("row_hash", hashes, dtype=pl.String))


def filterable(attributes: str) -> str:
    """Return a JSON object as the index can hold it: what is too large keeps what filters ask for.

    A filter compares texts, numbers and truth values; a list or an object within the attributes
    meets no condition. Of those the smallest are kept, ties in order of their names, until the next
    one would not fit.

    Example:
        >>> large = json.dumps({"price": 3, "story": "x" * 70_000, "parts": [1, 2]})
        >>> filterable(large), filterable('{"parts": [1, 2]}')
        ('{"price": 3}', '{"parts": [1, 2]}')
    """
    if len(attributes.encode()) <= MAX_STRING_BYTES:
        return attributes
    # Read as Milvus will be given it, and measured as it will be sent.
    values = json.loads(attributes, parse_int=json_integer)
    scalars = {name: value for name, value in values.items() if _can_be_asked_for(value)}
    size_of = {name: len(_json({name: value}).encode()) for name, value in scalars.items()}
    kept, room = {}, MAX_STRING_BYTES
    for name in sorted(scalars, key=lambda name: (size_of[name], name)):
        room -= size_of[name]
        if room < 0:
            break
        kept[name] = scalars[name]
    return _json(kept)


def _can_be_asked_for(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True)


def _row_hash(values: tuple[Any, ...]) -> str:
    if not values[-1]:  # without codes: as it was before there were any
        values = values[:-1]
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()


def write_batches(rows: pl.DataFrame, *, max_bytes: int) -> Iterator[list[dict[str, Any]]]:
    """Yield entities for Milvus, in writes of about `max_bytes`: more by at most one row."""
    row_bytes = sum(
        (pl.col(name).str.len_bytes().fill_null(0) for name in ("item_id", "category")),
        start=pl.col("attributes").str.len_bytes()
        + pl.col("tags").list.eval(pl.element().str.len_bytes()).list.sum()
        + 4 * pl.col("vector").list.len()
        + 256,  # hashes, time, and what protobuf puts around each value
    )
    batch = (row_bytes.cast(pl.Int64).cum_sum() // max_bytes).alias("batch")
    for part in rows.with_columns(batch).partition_by("batch", include_key=False):
        yield [_entity(row) for row in part.iter_rows(named=True)]


def _entity(row: dict[str, Any]) -> dict[str, Any]:
    attributes = json.loads(row["attributes"], parse_int=json_integer)
    return row | {"attributes": attributes, "category": row["category"] or ""}


def json_integer(digits: str) -> int | float:
    """Return a JSON integer as Milvus can hold it: one beyond 64 bits as a float."""
    number = float(digits)
    if abs(number) >= 1e19:  # Milvus's JSON has 64-bit integers; nor are long texts for int()
        return number
    whole = int(digits)
    return whole if -(2**63) <= whole < 2**63 else number
