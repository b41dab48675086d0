"""Checked batches into the lake, each table of a batch in the order that a crash forgives.

What other rows point at, and what is only kept, goes first: media and dead letters have
keys of their own, so writing them twice changes nothing. The table that a batch is about goes last,
and its commit carries the offsets that the batch reaches. A crash before it repeats the batch, a
crash after it does not.
"""

import logging
from datetime import UTC, datetime
from time import perf_counter

import polars as pl

from catalog.images.fetcher import ImageFetcher
from catalog.ingest.batch import Batch
from catalog.ingest.report import LandingReport
from catalog.lake.commits import NO_TRANSACTIONS, Transactions
from catalog.lake.lake import Lake
from catalog.lake.tables import MEDIA

MAX_HELD_BYTES = 256_000_000
"""Media and rejected messages that a batch holds before the former are written."""

logger = logging.getLogger(__name__)


def write_media(
    batch: Batch, lake: Lake, fetcher: ImageFetcher, *, max_held_bytes: int = MAX_HELD_BYTES
) -> int:
    """Load the media that a batch waits for, and write some early; return how many were new.

    The batch then holds its items, and of what they show no more than the memory allows.

    Args:
        batch: of items.
        lake: written to.
        fetcher: of media; from messages it must take no paths, for a path would let a
            sender read this machine's files.
        max_held_bytes: of media and rejected messages; so many are written early.
    """
    waiting, batch.without_media = batch.without_media, []
    written = 0
    for loaded in fetcher.load(waiting, within_s=fetcher.batch_timeout_s):
        batch.add_loaded(loaded, failed_at=datetime.now(UTC))
        if batch.held_bytes >= max_held_bytes:
            written += lake.insert_new(MEDIA, batch.take_media())
    return written


def write_items(
    batch: Batch,
    lake: Lake,
    *,
    items: pl.DataFrame | None = None,
    transactions: Transactions = NO_TRANSACTIONS,
    origin: str = "",
    landed_at: datetime | None = None,
) -> LandingReport:
    """Write a batch of items.

    Args:
        batch: of items.
        lake: written to.
        items: stands in for the items of the batch, e.g. with other times; None takes the batch's.
        transactions: recorded with the items, by one commit; see `catalog.lake.lake.Lake`.
        origin: who sent them, kept with the commit.
        landed_at: of the landing that the batch is part of; now when None.
    """
    started = perf_counter()
    report = LandingReport(
        consumed=batch.consumed,
        images=lake.insert_new(MEDIA, batch.media()),
        dead_letters=lake.put_dead_letters(batch.dead_letters()),
        items=lake.upsert_items(
            batch.items() if items is None else items,
            transactions=transactions,
            origin=origin,
            landed_at=landed_at,
        ),
        rejected=batch.rejected,
    )
    _log("items", report, upserted=report.items.inserted + report.items.updated, started=started)
    return report


def write_events(
    batch: Batch,
    lake: Lake,
    *,
    transactions: Transactions = NO_TRANSACTIONS,
    landed_at: datetime | None = None,
) -> LandingReport:
    """Write a batch of events; arguments as for `write_items`."""
    started = perf_counter()
    events = batch.events()
    dead_letters = lake.put_dead_letters(batch.dead_letters())
    counts = lake.upsert_events(events, transactions=transactions, landed_at=landed_at)
    written = counts.inserted + counts.updated
    report = LandingReport(
        consumed=batch.consumed,
        events=written,
        known_events=events.height - written,
        dead_letters=dead_letters,
        rejected=batch.rejected,
    )
    _log("events", report, upserted=written, started=started)
    return report


def _log(stage: str, report: LandingReport, *, upserted: int, started: float) -> None:
    dropped = report.rejected.total()
    logger.info(
        "stage=land_%s consumed=%d kept=%d dropped=%d upserted=%d elapsed_s=%.2f",
        stage,
        report.consumed,
        report.consumed - dropped,
        dropped,
        upserted,
        perf_counter() - started,
    )
