"""Messages of items and events into batches, batches into the lake.

The landing, the backfill and the replay of dead letters differ in where their messages come from
and in what they record beside the rows. Here is what they share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from catalog.images.fetcher import ImageFetcher
from catalog.ingest.batch import Batch
from catalog.ingest.message_parsing import (
    JSON,
    Decoders,
    parse_event_messages,
    parse_item_messages,
)
from catalog.ingest.report import LandingReport
from catalog.ingest.writer import write_events, write_items, write_media
from catalog.lake.commits import NO_TRANSACTIONS, Transactions
from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS, Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """Takes messages of items and events in."""

    lake: Lake

    images: ImageFetcher
    """Without a data folder where the messages come from Kafka: a path in one would let its sender
    read this machine's files."""

    decoders: Decoders = JSON
    """Of the values of messages."""

    landed_at: datetime | None = None
    """From which moment on all that is written is known; None: from that of its own write on."""

    def parse(self, table: Table, messages: Sequence[Any], batch: Batch) -> None:
        """Add messages to a batch, as items or dead letters; see `catalog.ingest.message_parsing`.

        Args:
            table: what the messages hold: `items` or `events`.
            messages: as kafka-python's consumer gives them.
            batch: of that table.
        """
        if table is ITEMS:
            parse_item_messages(messages, batch, decoder=self.decoders.item)
        else:
            parse_event_messages(messages, batch, decoder=self.decoders.event)

    def write(
        self, table: Table, batch: Batch, *, transactions: Transactions = NO_TRANSACTIONS
    ) -> LandingReport:
        """Write a batch, what its items show loaded first; see `catalog.ingest.writer`."""
        if table is not ITEMS:
            return write_events(
                batch, self.lake, transactions=transactions, landed_at=self.landed_at
            )
        early = LandingReport(images=write_media(batch, self.lake, self.images))
        return early + write_items(
            batch, self.lake, transactions=transactions, landed_at=self.landed_at
        )
