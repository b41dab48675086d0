"""The table that a ranker is trained on: which requests of a log, and their features.

Two kinds of logs are known. One with pages shows what was on each, so a request is a page. One
without (ratings) shows only what was chosen; a request is then a choice among what recall would
have offered, and every user's last liked item is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl

from features.behaviour_spaces import BehaviourSpaces
from features.centred_embeddings import CentredEmbeddings, codes_carried, history_pairs
from features.centring import Centring
from features.cooccurrence import Cooccurrence, cooccurrence
from features.daily_sums import days_of
from features.groups import DEFAULT_GROUPS, FeatureGroup
from features.histories import histories
from features.log import Log
from features.match_config import MatchConfig
from features.pages import LogDates, PageCounts, PageEvidence, Pages, num_shared, pages_of
from features.request_store import RequestStore
from features.requests import requests_of
from features.table import FeatureTable
from features.user_parts import ROWS_AT_ONCE, by_users
from ranker.rating_log import RatingLog
from ranker.rating_parts import add_rating_requests
from ranker.training_rows import MAX_GROUP_ROWS, NothingToLearn

TEST_SHARE = 0.2

NO_REQUESTS = "the lake's events hold no requests to learn from; land events first"

Protocol = Literal["impressions", "leave_last_out"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRequests:
    """Whose features a ranker may learn from, and what they are made of."""

    store: RequestStore
    """request_id, user_id, item_id, ts, relevance; of pages position as well; and the events."""

    counts: Cooccurrence
    protocol: Protocol
    pages: PageCounts

    settling: pl.DataFrame
    """day, settles_at of `Pages`; without rows where a new event may change every request."""

    def test_begins(self) -> datetime:
        """Return the moment from which the newest requests are, which rankers are tested on."""
        return _newest_of(self.store.moments(), TEST_SHARE)


def training_requests_of(
    events: pl.LazyFrame,
    items: pl.DataFrame,
    vectors: pl.DataFrame,
    folder: Path,
    *,
    groups: tuple[FeatureGroup, ...] = DEFAULT_GROUPS,
    rows_at_once: int = ROWS_AT_ONCE,
) -> TrainingRequests:
    """Return every request that a ranker may be trained or tested on by time.

    The log may be larger than memory; what it tells to be liked together, and what was liked, may
    not.

    Args:
        events: with `landed_at`, as `features.log.Log.events`.
        items: as of `Log`.
        vectors: as of `Log`.
        folder: where files may lie for as long as the requests are asked for.
        groups: of features that are to be made.
        rows_at_once: events of which pages are made at a time, about.

    Raises:
        NothingToLearn: the log holds nothing to learn from.
    """
    store, dates = RequestStore(folder), LogDates.of(events)
    counts, evidence, ids = [], [], []
    for part in by_users(events, folder, rows_at_once=rows_at_once):
        pages = pages_of(part, max_items=MAX_GROUP_ROWS, dates=dates)
        store.add(pages.impressions, pages.events)
        counts.append(pages.counts)
        evidence.append(pages.evidence)
        ids.append(pages.request_ids)
    together = PageCounts.together(counts, shared_requests=num_shared(pl.concat(ids)))
    with_swing, teaches = "swing" in groups, PageEvidence.together(evidence).teaches()
    if teaches:
        liked_together = cooccurrence(store.liked(), with_swing=with_swing)
    else:
        store.clear()
        liked_together = add_rating_requests(
            *(store, events, items, vectors, folder),
            with_swing=with_swing,
            rows_at_once=rows_at_once,
        )
        if not store.num_rows():
            raise NothingToLearn(NO_REQUESTS)
    return TrainingRequests(
        store=store,
        counts=liked_together,
        protocol="impressions" if teaches else "leave_last_out",
        pages=together,
        settling=dates.settling if teaches else dates.settling.clear(),
    )


def measured_centring(
    vectors: pl.DataFrame,
    pairs: pl.DataFrame,
    counts: Cooccurrence,
    *,
    until: datetime,
    version: str,
    groups: Sequence[FeatureGroup] = DEFAULT_GROUPS,
    seed: int = 0,
) -> Centring:
    """Measure what features are compared with: mean, tiers, clusters and behaviour spaces.

    Vectors are centred by their mean, and tiers bounded by what users liked together.

    Args:
        vectors: item_id, vector, model_version; none where the catalogue has none. The codes that
            they carry are those that are compared.
        pairs: what users liked one after the other, by the histories of requests that no ranker is
            tested on; see `features.centred_embeddings.history_pairs`.
        counts: what was liked together, for the behaviour spaces.
        until: the moment before whose day their likes are.
        version: model version of the vectors, or of what would embed the items.
        groups: of features; clusters and spaces are made for theirs alone.
        seed: of the pairs that are drawn, of clusters and of spaces.
    """
    spaces, num_clusters = None, 0
    codes_id = codes_carried(vectors) if "codes" in groups else ""
    if "behaviour" in groups:
        day = int(days_of(pl.Series([until]))[0])
        spaces = BehaviourSpaces.measured(counts, until=day, seed=seed)
    if "clusters" in groups:
        num_clusters = MatchConfig().num_clusters
    if vectors.is_empty():
        return Centring(version, (), (), behaviour=spaces)
    measured = CentredEmbeddings.measured(
        vectors, pairs=pairs, num_clusters=num_clusters, codes_id=codes_id, seed=seed
    )
    return replace(measured.centring, behaviour=spaces)


def rating_table(rated: RatingLog, *, seed: int = 0) -> FeatureTable:
    """Compute the features of the requests that a ranker of a log of ratings is trained on.

    Raises:
        NothingToLearn: nothing was liked that stage one would have found.
    """
    requests = rated.training()
    rows = requests.rows
    if rows.is_empty():
        raise NothingToLearn(NO_REQUESTS)
    until = newest(rows, TEST_SHARE)
    past = rows.filter(pl.col("ts") < until)
    pairs = history_pairs(histories(requests_of(past), rated.events))
    log = rated.log
    centring = measured_centring(
        *(log.vectors, pairs, requests.counts),
        until=until,
        version=log.model_version,
        groups=rated.features.groups,
        seed=seed,
    )
    return rated.table(requests, centring)


def learnable_pages(log: Log) -> Pages:
    """Return the log's pages, those left out that are too long to train on."""
    return pages_of(log.events, max_items=MAX_GROUP_ROWS)


def newest(frame: pl.DataFrame, share: float) -> datetime:
    """Return the moment from which the newest share of the requests came; never the oldest's.

    A split there has rows on both sides, unless all requests are of one moment.
    """
    return _newest_of(requests_of(frame)["ts"].sort(), share)


def _newest_of(moments: pl.Series, share: float) -> datetime:
    later = moments.filter(moments > moments[0])
    at = moments[int(len(moments) * (1 - share))]
    return max(at, later[0]) if len(later) else at
