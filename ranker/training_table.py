"""The table that a ranker is trained on: which requests of a log, and their features.

Two kinds of logs are known. One with impressions shows what was on each page, so a request is a
page. One without (ratings) shows only what was chosen; a request is then a choice among sampled
unseen items, and every user's last item is left out.
"""

from datetime import datetime

import polars as pl

from evaluation.leave_last_out import leave_last_out, training_requests
from features.centred_embeddings import CentredEmbeddings, history_pairs
from features.histories import histories, requests_of
from features.impressions import impressions_from_events
from features.log import Log
from features.table import FeatureTable, build_features

TEST_SHARE = 0.2


def training_table(log: Log, *, seed: int = 0) -> FeatureTable:
    """Compute the features of every request that a ranker may be trained or tested on by time.

    Raises:
        ValueError: the log holds nothing to learn from.
    """
    if log.has_impressions:
        requests, events = impressions_from_events(log.events), log.events
    else:
        events, _ = leave_last_out(log.events, candidate_items=log.candidates)
        requests = training_requests(events, candidate_items=log.candidates, seed=seed)
    if requests.is_empty():
        raise ValueError("the lake's events hold no requests to learn from; land events first")
    # The similarity tiers are bounded by what users liked together, so by nothing of the test's.
    past = requests.filter(pl.col("ts") < newest(requests, TEST_SHARE))
    pairs = history_pairs(histories(requests_of(past), events))
    centred = CentredEmbeddings.measured(log.vectors, pairs=pairs, seed=seed)
    return build_features(requests, events, log.items, log.vectors, centred=centred)


def newest(frame: pl.DataFrame, share: float) -> datetime:
    """Return the moment after which the newest share of the requests came."""
    moments = frame.group_by("request_id").agg(pl.col("ts").first())["ts"].sort()
    return moments[int(len(moments) * (1 - share))]
