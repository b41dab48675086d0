"""What a request is: one user asked at one moment, under one id."""

from collections.abc import Iterator

import numpy as np
import polars as pl

REQUEST_KEY = ("request_id", "user_id", "ts")
"""An id alone does not tell requests apart: clients share one, or keep it for days."""


def numbered(impressions: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with `request`, u32: the number of each row's request from 0.

    Requests are numbered in order of first appearance, whatever rows come between.
    """
    keys = impressions.select(REQUEST_KEY)
    numbers = keys.unique(maintain_order=True).with_row_index("request")
    found = keys.join(numbers, on=REQUEST_KEY, how="left", maintain_order="left", nulls_equal=True)
    return impressions.with_columns(found["request"])


def requests_of(impressions: pl.DataFrame) -> pl.DataFrame:
    """Return one row per request, by number: request, request_id, user_id, ts."""
    return impressions.select(REQUEST_KEY).unique(maintain_order=True).with_row_index("request")


def whole_requests(impressions: pl.DataFrame, num_rows: int) -> Iterator[pl.DataFrame]:
    """Yield the rows in parts of at most `num_rows`, or of one request that has more.

    Args:
        impressions: the rows of a request one after the other.
        num_rows: >= 1.
    """
    request_N = impressions.select(pl.struct(REQUEST_KEY).rle_id()).to_series().to_numpy()
    ends = np.append(np.flatnonzero(np.diff(request_N)) + 1, len(request_N))
    begin = 0
    while begin < len(impressions):
        fitting = ends[(ends > begin) & (ends <= begin + num_rows)]
        end = int(fitting[-1]) if len(fitting) else int(ends[ends > begin][0])
        yield impressions[begin:end]
        begin = end
