"""Which keys there are, in eight bytes each: whole tables are compared in the memory of a few.

A key is told by a hash of 64 bits. Of ten million keys beside ten million others two look alike
with a chance of 5 in a million, and the hash has a seed of its own in each process: what was taken
for another key is taken for itself the next time.
"""

import secrets
from array import array
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import polars as pl

BATCH_ROWS = 8_192
HASH = "_hash"
SEED = secrets.randbits(63)


class KeySet:
    """The keys of some rows."""

    def __init__(self, hashes: np.ndarray, key: Sequence[str]) -> None:
        """Take sorted hashes, each once, of the columns `key`."""
        self._hashes = hashes
        self._key = list(key)

    @classmethod
    def of(cls, rows: pl.LazyFrame, key: Sequence[str]) -> Self:
        """Read the keys of rows, a batch at a time."""
        hashes = _hashes(rows, key)
        is_again = _is_again(hashes)
        return cls(hashes[~is_again] if is_again.any() else hashes, key)

    def __len__(self) -> int:
        return len(self._hashes)

    def present(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Return those of the rows whose key is among these; no others are held in memory."""
        return self._kept(rows, are_in=True)

    def absent(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Return those of the rows whose key is not among these."""
        return self._kept(rows, are_in=False)

    def counts(self, rows: pl.LazyFrame, *, by: str) -> dict[str, int]:
        """Return how many of these keys there are among the rows of each group, by group."""
        hashes: dict[str, array[int]] = {}
        for batch in _batches(rows.select(by, _hash(self._key))):
            for group in batch.partition_by(by):
                found = group[HASH].to_numpy()
                found = found[_is_in(found, self._hashes)]
                if len(found):
                    hashes.setdefault(group[by][0], array("Q")).frombytes(found.tobytes())
        return {name: _num_distinct(hashes.pop(name)) for name in sorted(hashes)}

    def _kept(self, rows: pl.LazyFrame, *, are_in: bool) -> pl.DataFrame:
        # Hashes first: mostly there are no such rows, and then no more is read.
        kept = [np.empty(0, dtype=np.uint64)]
        for batch in _batches(rows.select(_hash(self._key))):
            hashes = batch[HASH].to_numpy()
            kept.append(hashes[_is_in(hashes, self._hashes) == are_in])
        wanted = pl.Series(np.concatenate(kept))
        if wanted.is_empty():
            return rows.collect_schema().to_frame()
        of_key = _hash(self._key).is_in(wanted.implode())
        return rows.filter(of_key).collect(engine="streaming")


def repeated_keys(rows: pl.LazyFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the keys that occur more than once, each once."""
    hashes = _hashes(rows, key)
    again = KeySet(np.unique(hashes[_is_again(hashes)]), key)
    counted = again.present(rows.select(key)).group_by(key).len()
    return counted.filter(pl.col("len") > 1).select(key)


def _batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    return rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False)


def _hashes(rows: pl.LazyFrame, key: Sequence[str]) -> np.ndarray:
    """Return the hashes of all rows, sorted."""
    found = array("Q")
    for batch in _batches(rows.select(_hash(key))):
        found.frombytes(batch[HASH].to_numpy().tobytes())
    return _sorted(found)


def _sorted(found: "array[int]") -> np.ndarray:
    """Return hashes sorted, where they lie: another array would take as much again."""
    hashes = np.frombuffer(found, dtype=np.uint64)
    hashes.sort()
    return hashes


def _num_distinct(found: "array[int]") -> int:
    return int(np.count_nonzero(~_is_again(_sorted(found))))


def _hash(key: Sequence[str]) -> pl.Expr:
    # As a part of the scan: by itself it takes memory that the process does not get back.
    return pl.struct(key).hash(seed=SEED).alias(HASH)


def _is_again(hashes: np.ndarray) -> np.ndarray:
    """Return which of sorted hashes are like the one before."""
    return np.concatenate([np.zeros(min(len(hashes), 1), dtype=bool), hashes[1:] == hashes[:-1]])


def _is_in(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(known, hashes), max(len(known) - 1, 0))
    return known[at] == hashes if len(known) else np.zeros(len(hashes), dtype=bool)
