"""Rows that a ranker may learn from, checked and in the order in which it reads them.

Shape legend: N = rows, G = requests.
"""

import numpy as np
import polars as pl

from features.requests import REQUEST_KEY
from ranker.config import MAX_RELEVANCE

MAX_GROUP_ROWS = 10_000
"""LightGBM stops on a larger one: `kMaxPosition`, where its table of discounts ends
(https://github.com/microsoft/LightGBM/blob/master/src/metric/dcg_calculator.cpp)."""


class NothingToLearn(ValueError):
    """There is no choice that a ranker could learn from: no requests, or none that tells."""


def check_rows(frame: pl.DataFrame) -> None:
    """Refuse rows that would teach nothing, or that LightGBM would stop on in words of its own.

    Raises:
        NothingToLearn: no request has rows of unlike relevance.
        ValueError: a relevance that is no whole number from 0 to 30, or a request of more than
            10,000 rows.
    """
    _check_relevance(frame)
    _check_group_sizes(frame)
    spread = frame.group_by(REQUEST_KEY).agg(pl.col("relevance").n_unique())["relevance"]
    if not (spread > 1).any():
        raise NothingToLearn(
            "a ranker needs a request in which one item was better than another, got "
            f"{len(spread)} requests without; land more events, or export a longer range"
        )


def _check_relevance(frame: pl.DataFrame) -> None:
    if "relevance" not in frame.columns:
        raise ValueError("a table to train on must have a column relevance; export it with labels")
    relevance = frame["relevance"]
    if not (relevance.dtype.is_integer() or (relevance.round() == relevance).all()):
        raise ValueError(f"relevance must be whole numbers, got {relevance.dtype} with fractions")
    wrong = frame.filter(~pl.col("relevance").is_between(0, MAX_RELEVANCE).fill_null(False))
    if len(wrong):
        first = wrong.row(0, named=True)
        raise ValueError(
            f"relevance must be in [0, {MAX_RELEVANCE}], got {first['relevance']} of item "
            f"{first['item_id']!r} in request {first['request_id']!r} and {len(wrong) - 1} more "
            "such rows; LightGBM's gain is 2^relevance - 1"
        )


def _check_group_sizes(frame: pl.DataFrame) -> None:
    large = frame.group_by(REQUEST_KEY).len().filter(pl.col("len") > MAX_GROUP_ROWS)
    if len(large):
        first = large.sort(REQUEST_KEY).row(0, named=True)
        raise ValueError(
            f"a request must have at most {MAX_GROUP_ROWS} rows to train on, got {first['len']} in "
            f"{first['request_id']!r} and more in {len(large) - 1} others; sample its negatives"
        )


def shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Order requests by time, and rows of each as only the seed decides.

    LightGBM breaks ties by position, so a table that lists what was clicked first would look learnt
    when it is not.
    """
    by_request = ("ts", "request_id", "user_id")
    order = (
        frame.select(*by_request, "item_id")
        .with_row_index("row")
        .sort(*by_request, "item_id")
        .with_columns(shuffle=pl.Series(np.random.default_rng(seed).permutation(len(frame))))
        .sort(*by_request, "shuffle")
    )
    return frame[order["row"]]


def group_sizes(rows: pl.DataFrame) -> np.ndarray:
    """Return [G] how many rows each request has, of rows in order of requests."""
    return rows.select(pl.struct(REQUEST_KEY).rle().struct.field("len")).to_series().to_numpy()
