"""Tests for ponder/ranking/comparison.py."""

from dataclasses import replace

import polars as pl

from features.pages import pages_of
from features.table import FeatureConfig, build_features
from ponder.ranking.comparison import compare_on_pages
from ranker.config import RankerConfig
from ranker.training import train
from tests.serving.clicks import LOG

TREES = RankerConfig(num_rounds=5, min_data_in_leaf=5, num_members=1)


def test_a_champion_of_another_set_is_asked_with_the_features_that_it_reads():
    pages = pages_of(LOG.events)
    log = replace(LOG, events=pages.events)
    table = build_features(pages.impressions, log.events, log.items, log.vectors)
    moment = table.frame["ts"].sort()[len(table.frame) // 2]
    early = pages.impressions.filter(pl.col("ts") < moment)
    few = build_features(
        early, log.events, log.items, log.vectors, config=FeatureConfig(groups=("context",))
    )
    found = compare_on_pages(log, table, train(few, config=TREES), "few", config=TREES)
    assert not found.obstacle
    assert (
        found.num_requests
        == table.frame.filter(
            pl.col("ts") >= table.frame["ts"].sort()[int(len(table.frame) * 0.8)]
        )["request_id"].n_unique()
    )
    assert (
        found.gain["gauc"].mean > 0.05
    )  # clicks follow vectors, of which the champion is not told
