"""What a request is: one user asked at one moment, under one id."""

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
