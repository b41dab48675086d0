"""The table that a ranker is trained on: which requests of a log, and their features.

Two kinds of logs are known. One with pages shows what was on each, so a request is a page. One
without (ratings) shows only what was chosen; a request is then a choice among what recall would
have offered, and every user's last liked item is left out.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from features.centred_embeddings import CentredEmbeddings, history_pairs
from features.histories import histories
from features.log import Log
from features.pages import PageCounts, Pages, pages_of
from features.requests import requests_of
from features.table import FeatureTable, build_features
from ranker.rating_log import RatingLog
from ranker.training_rows import MAX_GROUP_ROWS, NothingToLearn

TEST_SHARE = 0.2

Protocol = Literal["impressions", "leave_last_out"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingTable:
    """A table to train on, and how the log became it."""

    table: FeatureTable
    protocol: Protocol
    pages: PageCounts


def training_table(log: Log, *, seed: int = 0) -> TrainingTable:
    """Compute the features of every request that a ranker may be trained or tested on by time.

    Raises:
        NothingToLearn: the log holds nothing to learn from.
    """
    pages = learnable_pages(log)
    if pages.teach():
        table = _built(log, pages.impressions, pages.events, seed)
        return TrainingTable(table, "impressions", pages.counts)
    return TrainingTable(rating_table(RatingLog(log), seed=seed), "leave_last_out", pages.counts)


def rating_table(rated: RatingLog, *, seed: int = 0) -> FeatureTable:
    """Compute the features of the requests that a ranker of a log of ratings is trained on.

    Raises:
        NothingToLearn: nothing was liked that stage one would have found.
    """
    requests = rated.training()
    centred = _measured(rated.log, requests.rows, rated.events, seed)
    return rated.table(requests, centred.centring)


def _built(log: Log, requests: pl.DataFrame, events: pl.DataFrame, seed: int) -> FeatureTable:
    centred = _measured(log, requests, events, seed)
    return build_features(requests, events, log.items, log.vectors, centred=centred)


def _measured(
    log: Log, requests: pl.DataFrame, events: pl.DataFrame, seed: int
) -> CentredEmbeddings:
    """Centre the vectors; the tiers are bounded by what users liked together before the test."""
    if requests.is_empty():
        raise NothingToLearn("the lake's events hold no requests to learn from; land events first")
    past = requests.filter(pl.col("ts") < newest(requests, TEST_SHARE))
    pairs = history_pairs(histories(requests_of(past), events))
    return CentredEmbeddings.measured(log.vectors, pairs=pairs, seed=seed)


def learnable_pages(log: Log) -> Pages:
    """Return the log's pages, those left out that are too long to train on."""
    return pages_of(log.events, max_items=MAX_GROUP_ROWS)


def newest(frame: pl.DataFrame, share: float) -> datetime:
    """Return the moment from which the newest share of the requests came; never the oldest's.

    A split there has rows on both sides, unless all requests are of one moment.
    """
    moments = requests_of(frame)["ts"].sort()
    later = moments.filter(moments > moments[0])
    at = moments[int(len(moments) * (1 - share))]
    return max(at, later[0]) if len(later) else at
