"""Sums that grow day by day, and what they were before any day.

Legend: P = days on which a sum grew, of whatever things; N = anything asked.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

DAYS = 1 << 16
"""Days that a key has room for; day 0 is half of them before 1970."""

Amounts = tuple[np.ndarray, np.ndarray]
"""Rising int64 keys, each once, and the int64 amount of each, or a row of amounts."""


def days_of(moments: pl.Series) -> np.ndarray:
    """Return [N] number of the day (UTC) of each moment, int64, as keys count them."""
    return moments.dt.epoch("d").cast(pl.Int64).to_numpy() + DAYS // 2


def summed(key_N: np.ndarray, amount_N: np.ndarray) -> Amounts:
    """Return each key once, with the sum of its amounts; by sorting, which needs little memory."""
    order_N = np.argsort(key_N, kind="stable")
    key_N, amount_N = key_N[order_N], amount_N[order_N]
    first = np.flatnonzero(_is_first(key_N))
    return key_N[first], np.add.reduceat(amount_N, first, axis=0) if len(first) else amount_N


def summed_in_parts(parts: Iterable[Amounts]) -> Amounts:
    """Return the sum of parts, at least one: keys in any order, and their amounts.

    Sums of about equal length are added to each other, so that at most what is returned and as much
    again lies beside it, and each amount is moved a few times and not with every part.
    """
    sums: list[Amounts] = []
    for keys, amounts in parts:
        sums.append(summed(keys, amounts))
        while len(sums) > 1 and 2 * len(sums[-1][0]) >= len(sums[-2][0]):
            sums[-2:] = [_together(*sums[-2:])]
    while len(sums) > 1:
        sums[-2:] = [_together(*sums[-2:])]
    return sums[0]


def _together(one: Amounts, other: Amounts) -> Amounts:
    return summed(*(np.concatenate(both) for both in zip(one, other, strict=True)))


def _is_first(what_N: np.ndarray) -> np.ndarray:
    """Return [N] bool, which of rising numbers are the first of their value."""
    return np.append(True, what_N[1:] != what_N[:-1])[: len(what_N)]


def grown(key_P: np.ndarray, running_P: np.ndarray, more: Amounts) -> tuple[np.ndarray, np.ndarray]:
    """Return keys and running sums, those of before and what was added since."""
    if not len(key_P):
        return _running(*more)
    earlier_P = np.diff(running_P, axis=0, prepend=0)
    first = np.flatnonzero(_is_first(key_P // DAYS))
    earlier_P[first] = running_P[first]
    return _running(*_together((key_P, earlier_P), more))


def _running(key_N: np.ndarray, amount_N: np.ndarray) -> Amounts:
    sum_N = np.cumsum(amount_N, axis=0)
    first = np.flatnonzero(_is_first(key_N // DAYS))
    num = np.diff(np.append(first, len(key_N)))
    return key_N, sum_N - np.repeat(sum_N[first] - amount_N[first], num, axis=0)


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
