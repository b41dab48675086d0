"""What an export of a log holds, in memory."""

from types import SimpleNamespace

from features.centred_embeddings import CentredEmbeddings
from features.table import build_features
from ranker.training_table import measured_centring, training_requests_of


def training_table(log):
    """Return table, protocol and pages of the requests that a ranker may learn from."""
    asked = training_requests_of(log)
    centring = measured_centring(log, asked.before_test(), asked.events)
    centred = CentredEmbeddings.of(log.vectors, centring)
    table = build_features(
        asked.requests, asked.events, log.items, log.vectors, centred=centred, counts=asked.counts
    )
    return SimpleNamespace(table=table, protocol=asked.protocol, pages=asked.pages)
