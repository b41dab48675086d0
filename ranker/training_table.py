"""The table that a ranker is trained on: which requests of a log, and their features.

Two kinds of logs are known. One with pages shows what was on each, so a request is a page. One
without (ratings) shows only what was chosen; a request is then a choice among what recall would
have offered, and every user's last liked item is left out.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from features.centred_embeddings import CentredEmbeddings, Centring, history_pairs
from features.cooccurrence import Cooccurrence, cooccurrence
from features.histories import histories
from features.log import Log
from features.pages import PageCounts, Pages, pages_of
from features.requests import requests_of
from features.table import FeatureTable
from ranker.rating_log import RatingLog
from ranker.training_rows import MAX_GROUP_ROWS, NothingToLearn

TEST_SHARE = 0.2

Protocol = Literal["impressions", "leave_last_out"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRequests:
    """Whose features a ranker may learn from, and what they are made of."""

    requests: pl.DataFrame
    """request_id, user_id, item_id, ts, relevance; of pages position as well."""

    events: pl.DataFrame
    counts: Cooccurrence
    protocol: Protocol
    pages: PageCounts

    settling: pl.DataFrame
    """day, settles_at of `Pages`; without rows where a new event may change every request."""

    def before_test(self) -> pl.DataFrame:
        """Return the requests without the newest, which rankers are tested on."""
        return self.requests.filter(pl.col("ts") < newest(self.requests, TEST_SHARE))


def training_requests_of(log: Log) -> TrainingRequests:
    """Return every request that a ranker may be trained or tested on by time.

    Raises:
        NothingToLearn: the log holds nothing to learn from.
    """
    pages = learnable_pages(log)
    if not pages.teach():
        return _of_ratings(RatingLog(log), pages)
    return TrainingRequests(
        requests=_not_empty(pages.impressions),
        events=pages.events,
        counts=cooccurrence(pages.events),
        protocol="impressions",
        pages=pages.counts,
        settling=pages.settling,
    )


def _of_ratings(rated: RatingLog, pages: Pages) -> TrainingRequests:
    requests = rated.training()
    return TrainingRequests(
        requests=_not_empty(requests.rows),
        events=rated.events,
        counts=requests.counts,
        protocol="leave_last_out",
        pages=pages.counts,
        settling=pages.settling.clear(),
    )


def _not_empty(requests: pl.DataFrame) -> pl.DataFrame:
    if requests.is_empty():
        raise NothingToLearn("the lake's events hold no requests to learn from; land events first")
    return requests


def measured_centring(
    log: Log, window: pl.DataFrame, events: pl.DataFrame, *, seed: int = 0
) -> Centring:
    """Centre the log's vectors by their mean, and bound the tiers by what users liked together.

    Args:
        log: whose vectors.
        window: the requests whose histories are looked at; none that a ranker is tested on.
        events: that those are made of.
        seed: of the pairs.
    """
    pairs = history_pairs(histories(requests_of(window), events))
    return CentredEmbeddings.measured(log.vectors, pairs=pairs, seed=seed).centring


def rating_table(rated: RatingLog, *, seed: int = 0) -> FeatureTable:
    """Compute the features of the requests that a ranker of a log of ratings is trained on.

    Raises:
        NothingToLearn: nothing was liked that stage one would have found.
    """
    requests = rated.training()
    rows = _not_empty(requests.rows)
    past = rows.filter(pl.col("ts") < newest(rows, TEST_SHARE))
    return rated.table(requests, measured_centring(rated.log, past, rated.events, seed=seed))


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
