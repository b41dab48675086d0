"""An index in Milvus Lite, and what users of `tests.serving.clicks` are recommended from."""

import polars as pl
import pytest

from features.histories import HistoryConfig, positive_events
from features.pages import pages_of
from features.table import build_features
from ranker.config import RankerConfig
from ranker.training import train
from recall.search import Recall
from tests.index_fixtures import AxisCoder, KnownHistories, encoder, index, rows
from tests.serving.clicks import IDS, LOG, VECTORS_ND

__all__ = ["encoder", "index", "rows"]


@pytest.fixture(scope="module")
def recall(index, rows, encoder):
    told = pl.Series(AxisCoder().told(VECTORS_ND))
    frame = rows(**dict(zip(IDS, VECTORS_ND.tolist(), strict=True))).with_columns(codes=told)
    index.sync("v1", frame, dim=4)
    index.promote("v1")

    liked = positive_events(LOG.events, config=HistoryConfig()).sort("ts", descending=True)
    newest = liked.group_by("user_id").agg(pl.col("item_id").unique(maintain_order=True))
    histories = KnownHistories(dict(newest.iter_rows()))
    return Recall(index, lambda version: encoder, histories, codes_of={"v1": AxisCoder()}.get)


@pytest.fixture(scope="module")
def ranker():
    impressions = pages_of(LOG.events).impressions
    table = build_features(impressions, LOG.events, LOG.items, LOG.vectors)
    return train(table, config=RankerConfig(num_rounds=10, min_data_in_leaf=5, num_members=1))
