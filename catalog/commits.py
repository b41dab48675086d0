"""Checked batches into the lake, each table of a batch in the order that a crash forgives.

What other rows point at, and what is only kept, goes first: pictures and dead letters have keys of
their own, so writing them twice changes nothing. The table that a batch is about goes last, and its
commit carries the positions that the batch reaches. A crash before it repeats the batch, a crash
after it does not.
"""

import logging
from time import perf_counter

import polars as pl

from catalog.batch import Batch
from catalog.lake import NO_TRANSACTIONS, Lake, Transactions
from catalog.report import LandingReport
from catalog.tables import EVENTS, MEDIA

logger = logging.getLogger(__name__)


def write_items(
    batch: Batch,
    lake: Lake,
    *,
    items: pl.DataFrame | None = None,
    transactions: Transactions = NO_TRANSACTIONS,
) -> LandingReport:
    """What came of writing a batch of items.

    Args:
        batch: of items.
        lake: written to.
        items: stands in for the items of the batch, e.g. with other times; None takes the batch's.
        transactions: recorded with the items, by one commit; see `catalog.lake.Lake`.
    """
    started = perf_counter()
    report = LandingReport(
        consumed=batch.consumed,
        pictures=lake.insert_new(MEDIA, batch.pictures()),
        dead_letters=lake.put_dead_letters(batch.dead_letters()),
        items=lake.upsert_items(
            batch.items() if items is None else items, transactions=transactions
        ),
        rejected=batch.rejected,
    )
    _log("items", report, upserted=report.items.inserted + report.items.updated, started=started)
    return report


def write_events(
    batch: Batch, lake: Lake, *, transactions: Transactions = NO_TRANSACTIONS
) -> LandingReport:
    """What came of writing a batch of events; arguments as for `write_items`."""
    started = perf_counter()
    events = batch.events()
    dead_letters = lake.put_dead_letters(batch.dead_letters())
    new = lake.insert_new(EVENTS, events, transactions=transactions)
    report = LandingReport(
        consumed=batch.consumed,
        events=new,
        known_events=events.height - new,
        dead_letters=dead_letters,
        rejected=batch.rejected,
    )
    _log("events", report, upserted=new, started=started)
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
