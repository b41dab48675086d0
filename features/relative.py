"""A feature in terms of its request's other candidates.

Legend: N = impressions, K = those that have a value.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

_SIGN = np.int32(0x7FFFFFFF)


def relative_forms(values_N: np.ndarray, request_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rank (1 = best, ties share it) and gap to the median, both [N] float32.

    Args:
        values_N: float32; NaN: missing, which stays so and counts for nothing.
        request_N: number of the request of each, in [0, 2^31), in any order.
    """
    rank_N, gap_N = np.full((2, len(values_N)), np.nan, dtype=np.float32)
    known_K = np.flatnonzero(~np.isnan(values_N))
    if not len(known_K):
        return rank_N, gap_N
    value_K = values_N[known_K] + np.float32(0)  # -0.0 ties with 0.0
    key_K = (request_N[known_K].astype(np.int64) << 32) - _in_order(value_K)
    order_K = np.argsort(key_K)
    key_K, value_K, known_K = key_K[order_K], value_K[order_K], known_K[order_K]
    asked_K = request_N[known_K]
    first_K, size_K = _runs(asked_K[1:] != asked_K[:-1])
    tie_K, _ = _runs(key_K[1:] != key_K[:-1])
    upper_K, lower_K = value_K[first_K + (size_K - 1) // 2], value_K[first_K + size_K // 2]
    rank_N[known_K] = tie_K - first_K + 1
    gap_N[known_K] = value_K - (upper_K + lower_K) / np.float32(2)
    return rank_N, gap_N


def relative_columns(
    column_of: Mapping[str, np.ndarray], request_N: np.ndarray
) -> dict[str, pl.Series]:
    """Return the columns `_rank`, u32, and `_gap` of each feature; null where it is missing."""
    columns = {}
    for name, values_N in column_of.items():
        rank_N, gap_N = relative_forms(values_N, request_N)
        columns[f"{name}_rank"] = pl.Series(rank_N, nan_to_null=True).cast(pl.UInt32)
        columns[f"{name}_gap"] = pl.Series(gap_N, nan_to_null=True)
    return columns


def _in_order(value_K: np.ndarray) -> np.ndarray:
    """Return [K] int64 in the range of 32 bits that rise with the float32 values."""
    bits_K = value_K.view(np.int32)
    return (bits_K ^ ((bits_K >> 31) & _SIGN)).astype(np.int64)


def _runs(is_new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row where its run begins, and how long that is.

    Args:
        is_new: of every row but the first, whether a run begins with it.
    """
    begins = np.concatenate([[0], np.flatnonzero(is_new) + 1])
    lengths = np.diff(begins, append=len(is_new) + 1)
    return np.repeat(begins, lengths), np.repeat(lengths, lengths)
