"""Where the rows of an index lie: so many of each vector in the graph, the others in its crowd.

See `recall.crowds` for what a crowd is and why.

Shape legend: N = items, D = embedding dimension.
"""

import hashlib
from enum import IntEnum

import numpy as np
import polars as pl

GRAPH_PARTITION = "_default"
CROWD_PARTITION = "crowds"

HASH_DIGITS = 32
SUFFIXES = {0: "", 1: "+lead", 2: "+crowd"}


class Place(IntEnum):
    """Where an item's row lies."""

    GRAPH = 0
    LEAD = 1
    CROWD = 2

    @property
    def partition(self) -> str:
        """The partition that holds it."""
        return GRAPH_PARTITION if self is Place.GRAPH else CROWD_PARTITION


def keyed(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with `vector_key` (i64): equal for equal vectors, for others as good as never.

    Example:
        >>> rows = pl.DataFrame({"vector": [[1.0, 0.0], [0.0, 1.0], [1.0, -0.0]]})
        >>> keyed(rows)["vector_key"].n_unique()
        2
    """
    dim = len(rows["vector"][0]) if len(rows) else 0
    vectors_ND = rows["vector"].cast(pl.Array(pl.Float32, dim)).to_numpy()
    vectors_ND = vectors_ND.astype("<f4") + np.float32(0)  # -0 is 0
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in vectors_ND]
    keys = np.frombuffer(b"".join(digests), dtype="<i8")
    return rows.with_columns(pl.Series("vector_key", keys, dtype=pl.Int64))


class Placement:
    """Says of each item where it lies, while items come by in order of their ids.

    The first `max_identical` of a vector lie in the graph, the next one leads the crowd. It holds
    12 bytes in memory for each vector that came by.
    """

    def __init__(self, max_identical: int) -> None:
        """Start before the first item."""
        self._max = max_identical
        self._keys = np.empty(0, dtype=np.int64)  # sorted
        self._counts = np.empty(0, dtype=np.int32)

    def place(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows in order of item_id with their `place` (i8), told in `row_hash` as well.

        Args:
            rows: the next ones; item_id, vector_key and row_hash, among others.
        """
        rows = rows.sort("item_id")
        keys, of_row, counts = np.unique(
            rows["vector_key"].to_numpy(), return_inverse=True, return_counts=True
        )
        before = self._count(keys, counts)
        within = pl.int_range(pl.len()).over("vector_key")
        number = rows.select(within).to_series() + pl.Series(before[of_row])
        place = (number >= self._max).cast(pl.Int8) + (number > self._max).cast(pl.Int8)
        return placed(rows, place)

    def _count(self, keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Add to the counts; return what they were before."""
        at = np.searchsorted(self._keys, keys)
        is_new = at == len(self._keys)
        is_new[~is_new] = self._keys[at[~is_new]] != keys[~is_new]
        before = np.zeros(len(keys), dtype=np.int64)
        before[~is_new] = self._counts[at[~is_new]]
        self._counts[at[~is_new]] += counts[~is_new].astype(np.int32)
        self._keys = np.insert(self._keys, at[is_new], keys[is_new])
        self._counts = np.insert(self._counts, at[is_new], counts[is_new])
        return before


def placed(rows: pl.DataFrame, place: pl.Series) -> pl.DataFrame:
    """Return rows with their place, told in `row_hash` as well: an item that moves has changed."""
    suffix = place.replace_strict(SUFFIXES, return_dtype=pl.String)
    return rows.with_columns(
        place=place.cast(pl.Int8), row_hash=pl.col("row_hash").str.head(HASH_DIGITS) + suffix
    )


def elsewhere(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with `row_hash_held`, as if each had been in the other partition before."""
    other = pl.when(is_in_crowd("row_hash")).then(pl.lit("")).otherwise(pl.lit(SUFFIXES[2]))
    return rows.with_columns(row_hash_held=other)


def is_in_crowd(row_hash: str) -> pl.Expr:
    """Return whether a column of row hashes tells of rows in the crowds' partition."""
    return pl.col(row_hash).str.contains("+", literal=True)
