"""Train a ranker: LightGBM over a feature table, several models whose mean is the score."""

from collections.abc import Callable, Sequence
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from features.groups import FeatureGroup
from features.schema import groups_of, names_of
from features.table import FeatureTable
from ranker.config import RankerConfig
from ranker.model import Ranker, TrainedOn, feature_columns
from ranker.training_rows import check_rows, group_sizes, shuffled


def train(
    table: FeatureTable,
    *,
    feature_groups: Sequence[FeatureGroup] | None = None,
    config: RankerConfig | None = None,
    data_hash: str = "",
    callback: Callable[[Any], None] | None = None,
) -> Ranker:
    """Train a ranker of the table's requests by their relevance, on all of them.

    The columns are handed to LightGBM as they lie in memory, in Arrow's layout, once for all
    members. What costs a copy is the order of rows, which has to be its own (`shuffled`).

    Args:
        table: with `relevance`, whole numbers from 0 (LightGBM's gain is 2^relevance - 1), and a
            column `position` where the effect of places is to be taken off.
        feature_groups: which features to use; all when None.
        config: the defaults when None.
        data_hash: of the export that the table was read from; kept with the ranker.
        callback: given to LightGBM, which calls it after each tree of each member.

    Raises:
        NothingToLearn: no request has rows of unlike relevance.
        ValueError: a relevance out of range, a request of more than 10,000 rows, no features, or a
            constraint on a feature that is not used.
    """
    config = config or RankerConfig()
    names = _names(table, feature_groups, config)
    check_rows(table.frame)
    data = _dataset(table.frame, names, config)
    boosters = tuple(
        lightgbm.train(
            config.params(num_rows=len(table.frame), member=member, names=names),
            data,
            num_boost_round=config.num_rounds,
            callbacks=[callback] if callback else [],
        )
        for member in config.members
    )
    return Ranker(
        boosters,
        names,
        groups_of(table.features),
        table.schema_hash,
        table.centring,
        config,
        _trained_on(table, data_hash),
    )


def _names(
    table: FeatureTable, feature_groups: Sequence[FeatureGroup] | None, config: RankerConfig
) -> tuple[str, ...]:
    groups = {f.group for f in table.features} if feature_groups is None else set(feature_groups)
    names = tuple(names_of(table.features, groups))
    if not names:
        raise ValueError(f"feature_groups must name features, got {sorted(groups)}")
    if unknown := sorted(set(config.monotone) - {f.name for f in table.features}):
        raise ValueError(f"monotone must name features of the table, got {unknown}")
    return names


def _dataset(frame: pl.DataFrame, names: tuple[str, ...], config: RankerConfig) -> lightgbm.Dataset:
    rows = shuffled(frame, config.seed)
    return lightgbm.Dataset(
        feature_columns(rows, names),
        label=_labels(rows, config),
        group=group_sizes(rows),
        position=_positions(rows, config),
        feature_name=list(names),
        params=config.params(num_rows=len(rows), member=0, names=names),
    )


def _labels(rows: pl.DataFrame, config: RankerConfig) -> np.ndarray:
    relevance = rows["relevance"].cast(pl.Float32).to_numpy()
    return relevance if config.objective == "lambdarank" else (relevance > 0).astype(np.float32)


def _positions(rows: pl.DataFrame, config: RankerConfig) -> np.ndarray | None:
    """Return [N] i32 place of each row, one of their own for all unknown; None without any."""
    if not config.position_bias or config.objective == "binary" or "position" not in rows.columns:
        return None
    position = rows["position"].cast(pl.Int32)
    return None if position.is_null().all() else position.fill_null(-1).to_numpy()


def _trained_on(table: FeatureTable, data_hash: str) -> TrainedOn:
    first, last = table.frame.select(first=pl.col("ts").min(), last=pl.col("ts").max()).row(0)
    return TrainedOn(
        data_hash=data_hash,
        num_rows=len(table.frame),
        num_requests=table.num_requests,
        first_ts=first,
        last_ts=last,
    )
