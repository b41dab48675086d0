"""What an export of a log holds, in memory."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import polars as pl

from catalog.lake.tables import LANDED_AT, TIME
from features.centred_embeddings import CentredEmbeddings
from features.table import build_features
from ranker.training_table import measured_centring, training_requests_of


def training_table(log, version="v"):
    """Return table, protocol and pages of the requests that a ranker may learn from."""
    with tempfile.TemporaryDirectory() as folder:
        events = log.events.lazy().with_columns(pl.lit(None, TIME).alias(LANDED_AT))
        asked = training_requests_of(events, log.items, log.vectors, Path(folder))
        until = asked.test_begins()
        pairs = asked.store.pairs(None, until)
        days = list(asked.store.num_rows())
        requests = asked.store.requests_between(days[0], days[-1])
        known = asked.store.reader().known_before(requests)
    centring = measured_centring(log.vectors, pairs, asked.counts, until=until, version=version)
    centred = CentredEmbeddings.of(log.vectors, centring)
    table = build_features(
        requests,
        known.events,
        log.items,
        log.vectors,
        centred=centred,
        counts=asked.counts,
        earlier=known.earlier,
    )
    return SimpleNamespace(table=table, protocol=asked.protocol, pages=asked.pages)
