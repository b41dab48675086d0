"""Train a ranker: LightGBM's LambdaMART over a feature table."""

from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from features.requests import REQUEST_KEY, numbered, requests_of
from features.schema import FeatureGroup, names_of
from features.table import FeatureTable
from ranker.config import RankerConfig
from ranker.model import Ranker, feature_matrix

MAX_GROUP_ROWS = 10_000
"""LightGBM stops on a larger one: `kMaxPosition`, where its table of discounts ends
(https://github.com/microsoft/LightGBM/blob/master/src/metric/dcg_calculator.cpp)."""


def train(
    table: FeatureTable,
    *,
    feature_groups: Sequence[FeatureGroup] = ("context", "match"),
    config: RankerConfig | None = None,
) -> Ranker:
    """Train a ranker of the table's requests by their relevance.

    Rows are put in one order and then shuffled inside each request: LightGBM breaks ties by
    position, so a table that lists what was clicked first would look learnt when it is not.

    Args:
        table: with `relevance`, integers from 0 (LightGBM's gain is 2^relevance - 1).
        feature_groups: which features to use.
        config: the defaults when None.

    Raises:
        ValueError: a request of more than 10,000 rows, or no features.
    """
    config = config or RankerConfig()
    names = names_of(table.features, feature_groups)
    if not names:
        raise ValueError(f"feature_groups must name features, got {list(feature_groups)}")
    _check_group_sizes(table.frame)
    rows = _shuffled(table.frame, config.seed)
    fitted, held_out = _newest_out(rows, config.validation_share)
    data = _dataset(fitted, names)
    stopping: dict[str, Any] = {}
    if len(held_out):
        stopping = {
            "valid_sets": [data.create_valid(**_arrays(held_out, names))],
            "callbacks": [lightgbm.early_stopping(config.early_stopping_rounds, verbose=False)],
        }
    booster = lightgbm.train(config.params(), data, num_boost_round=config.num_rounds, **stopping)
    if stopping:  # keep only the trees up to the best round, so that saved and live are equal
        booster = lightgbm.Booster(
            model_str=booster.model_to_string(num_iteration=booster.best_iteration)
        )
    return Ranker(booster, tuple(names), table.schema_hash, table.centring, config)


def _check_group_sizes(frame: pl.DataFrame) -> None:
    large = frame.group_by(REQUEST_KEY).len().filter(pl.col("len") > MAX_GROUP_ROWS)
    if len(large):
        first = large.sort(REQUEST_KEY).row(0, named=True)
        raise ValueError(
            f"a request must have at most {MAX_GROUP_ROWS} rows to train on, got {first['len']} in "
            f"{first['request_id']!r} and more in {len(large) - 1} others; sample its negatives"
        )


def _shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Order requests by time, and rows of each as only the seed decides."""
    by_request = ("ts", "request_id", "user_id")
    ordered = frame.sort(*by_request, "item_id")
    shuffle = pl.Series("shuffle", np.random.default_rng(seed).permutation(len(ordered)))
    return ordered.with_columns(shuffle).sort(*by_request, "shuffle").drop("shuffle")


def _newest_out(rows: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    requests = requests_of(rows)
    first_out = len(requests) - round(share * len(requests))
    place = numbered(rows)["request"]
    return rows.filter(place < first_out), rows.filter(place >= first_out)


def _dataset(rows: pl.DataFrame, names: Sequence[str]) -> lightgbm.Dataset:
    return lightgbm.Dataset(**_arrays(rows, names), feature_name=list(names))


def _arrays(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    run = pl.struct(REQUEST_KEY).rle()
    return {
        "data": feature_matrix(rows, names),
        "label": rows["relevance"].to_numpy(),
        "group": rows.select(run.struct.field("len")).to_series().to_numpy(),
    }
