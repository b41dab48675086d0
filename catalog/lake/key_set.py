"""Which keys there are, in eight bytes each: whole tables are compared in the memory of a few.

A key is told by a hash of 64 bits. Of ten million keys beside ten million others two look alike
with a chance of 5 in a million, and the hash has a seed of its own in each process: what was taken
for another key is taken for itself the next time.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import polars as pl

BATCH_ROWS = 8_192
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
        return cls(np.unique(_hashes(rows, key)), key)

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
        hashes: dict[str, list[np.ndarray]] = {}
        for batch in _batches(rows.select(by, *self._key)):
            for group in batch.partition_by(by):
                found = _hash(group, self._key)
                found = found[_is_in(found, self._hashes)]
                if len(found):
                    hashes.setdefault(group[by][0], []).append(found)
        return {name: len(np.unique(np.concatenate(hashes[name]))) for name in sorted(hashes)}

    def _kept(self, rows: pl.LazyFrame, *, are_in: bool) -> pl.DataFrame:
        kept = [rows.collect_schema().to_frame()]
        for batch in _batches(rows):
            is_in = _is_in(_hash(batch, self._key), self._hashes)
            if (is_in == are_in).any():
                kept.append(batch.filter(pl.Series(is_in == are_in)))
        return pl.concat(kept)


def repeated_keys(rows: pl.LazyFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the keys that occur more than once, each once."""
    hashes = np.sort(_hashes(rows, key))
    again = KeySet(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]), key)
    counted = again.present(rows.select(key)).group_by(key).len()
    return counted.filter(pl.col("len") > 1).select(key)


def _batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    return rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False)


def _hashes(rows: pl.LazyFrame, key: Sequence[str]) -> np.ndarray:
    found = [_hash(batch, list(key)) for batch in _batches(rows.select(key))]
    return np.concatenate([np.empty(0, dtype=np.uint64), *found])


def _hash(rows: pl.DataFrame, key: list[str]) -> np.ndarray:
    return rows.select(pl.struct(key).hash(seed=SEED)).to_series().to_numpy()


def _is_in(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(known, hashes), max(len(known) - 1, 0))
    return known[at] == hashes if len(known) else np.zeros(len(hashes), dtype=bool)
