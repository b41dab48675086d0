"""Sums that grow day by day, and what they were before any day.

Legend: P = days on which a sum grew, of whatever things; N = anything asked; A = amounts that are
summed up beside each other.
"""

from collections.abc import Iterable
from mmap import mmap

import numpy as np
import polars as pl

DAYS = 1 << 16
"""Days that a key has room for; day 0 is half of them before 1970."""

NUM_RANGES = 32
"""Ranges of things that are summed up one after the other, at most."""

RANGE_KEYS = 4_096
"""Keys that are worth a range of their own."""

Amounts = tuple[np.ndarray, np.ndarray]
"""int64 keys [N], a thing * `DAYS` + a day, and int64 amounts [A, N]."""


def days_of(moments: pl.Series) -> np.ndarray:
    """Return [N] number of the day (UTC) of each moment, int64, as keys count them."""
    return moments.dt.epoch("d").cast(pl.Int64).to_numpy() + DAYS // 2


def summed(key_N: np.ndarray, amount_AN: np.ndarray) -> Amounts:
    """Return each key once, rising, with the sum of its amounts; sorting needs little memory."""
    order_N = np.argsort(key_N, kind="stable")
    key_N, amount_AN = key_N[order_N], amount_AN[:, order_N]
    first = np.flatnonzero(_is_first(key_N))
    return key_N[first], np.add.reduceat(amount_AN, first, axis=1) if len(first) else amount_AN


def running_sums(parts: Iterable[Amounts], earlier: Amounts) -> Amounts:
    """Return rising keys [P] and running sums [A, P]: those of before and what they grew by.

    Things are shared out to ranges, which are summed up one after the other. So what lies beside
    the result while it is made are the parts, each key about once, and a few times one range.

    Args:
        parts: what sums grew by, at least one; keys in any order, also several times.
        earlier: what this returned of the days before; empty: nothing is known.
    """
    edges, ranges = np.zeros(0, dtype=np.int64), [_RangeSums()]
    for number, part in enumerate(parts):
        keys, amounts = summed(*part)
        if not number:
            edges = _edges(max(keys, earlier[0], key=len))
            ranges = [_RangeSums() for _ in range(len(edges) + 1)]
        for each, rows in zip(ranges, _cuts(keys, edges), strict=True):
            each.add(keys[rows], amounts[:, rows])
    made = []
    for rows in reversed(_cuts(earlier[0], edges)):
        made.append(ranges.pop().grown(earlier[0][rows], earlier[1][:, rows]))
    return _joined(made, len(earlier[1]))


def _edges(key_N: np.ndarray) -> np.ndarray:
    """Return where ranges of about equally many of rising keys end, all days of a thing in one."""
    num = min(max(len(key_N) // RANGE_KEYS, 1), NUM_RANGES)
    return np.unique(key_N[np.arange(1, num) * len(key_N) // num] // DAYS * DAYS)


def _cuts(key_N: np.ndarray, edges: np.ndarray) -> list[slice]:
    """Return which of rising keys are of each range."""
    cuts = np.searchsorted(key_N, edges).tolist()
    return [slice(*rows) for rows in zip([0, *cuts], [*cuts, len(key_N)], strict=True)]


def _joined(made: list[Amounts], num_amounts: int) -> Amounts:
    """Join ranges, the last of which comes first, and let go of each once it has been copied."""
    size = sum(len(keys) for keys, _ in made)
    key_P, running_AP = np.empty(size, np.int64), np.empty((num_amounts, size), np.int64)
    start = 0
    while made:
        keys, running = made.pop()
        end = start + len(keys)
        key_P[start:end], running_AP[:, start:end] = keys, running
        start = end
    return key_P, running_AP


class _RangeSums:
    """What the sums of some things grew by.

    Parts of about equal length are added to each other, so that each amount is moved a few times
    and not with every part, and at most as much as their sum lies beside it.
    """

    def __init__(self) -> None:
        self._parts: list[Amounts] = []

    def add(self, key_N: np.ndarray, amount_AN: np.ndarray) -> None:
        """Add rising keys."""
        new, parts = (key_N, amount_AN), self._parts
        while parts and 2 * len(new[0]) >= len(parts[-1][0]):
            new = _together(parts.pop(), new)
        parts.append((_apart(new[0]), _apart(new[1])))

    def grown(self, key_P: np.ndarray, running_AP: np.ndarray) -> Amounts:
        """Return the keys and running sums of before with what was added, and forget that."""
        earlier_AP = np.diff(running_AP, axis=1, prepend=0)
        first = np.flatnonzero(_is_first(key_P // DAYS))
        earlier_AP[:, first] = running_AP[:, first]
        grown = key_P, earlier_AP
        while self._parts:
            grown = _together(self._parts.pop(), grown)
        keys, running = _running(*grown)
        return _apart(keys), _apart(running)


def _apart(values: np.ndarray) -> np.ndarray:
    """Return a copy in pages of its own, which the system gets back as soon as it is let go.

    What thousands of parts leave free between each other in the process's memory it does not get.
    """
    copy = np.frombuffer(mmap(-1, max(values.nbytes, 1)), np.int64, values.size)
    copy = copy.reshape(values.shape)
    copy[...] = values
    return copy


def _together(one: Amounts, other: Amounts) -> Amounts:
    return summed(*(np.concatenate(both, axis=-1) for both in zip(one, other, strict=True)))


def _is_first(what_N: np.ndarray) -> np.ndarray:
    """Return [N] bool, which of rising numbers are the first of their value."""
    return np.append(True, what_N[1:] != what_N[:-1])[: len(what_N)]


def _running(key_N: np.ndarray, amount_AN: np.ndarray) -> Amounts:
    sum_AN = np.cumsum(amount_AN, axis=1)
    first = np.flatnonzero(_is_first(key_N // DAYS))
    num = np.diff(np.append(first, len(key_N)))
    return key_N, sum_AN - np.repeat(sum_AN[:, first] - amount_AN[:, first], num, axis=1)


def rows_before(
    key_P: np.ndarray, what_N: np.ndarray, day_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return [N] row of each thing's running sum at the end of the day before, and if there is."""
    row_N = np.searchsorted(key_P, what_N * DAYS + day_N) - 1
    if not len(key_P):
        return row_N, np.zeros(len(row_N), dtype=bool)
    return row_N, (row_N >= 0) & (key_P[row_N] // DAYS == what_N)


def sums_at(running_P: np.ndarray, row_N: np.ndarray, is_there_N: np.ndarray) -> np.ndarray:
    """Return [N] float64 running sums of rows; 0 of none."""
    if not len(running_P):
        return np.zeros(len(row_N))
    return np.where(is_there_N, running_P[row_N], 0).astype(np.float64)
