"""One item that is put or deleted by itself, landed as a batch of one.

It is checked, fetched, written and rejected by the same code as what Kafka brings; only who asks is
there to be answered.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from catalog.images.fetcher import ImageFetcher
from catalog.ingest.batch import Batch
from catalog.ingest.writer import write_items
from catalog.lake.lake import Lake
from catalog.lake.upsert import UpsertCounts
from catalog.record_parsing import parse_item
from catalog.records import Item, RawRecord, RecordError

Outcome = Literal["inserted", "updated", "deleted", "unchanged", "stale"]
"""What became of a change; `stale`: the lake holds a newer record of the item, which stays."""


@dataclass(frozen=True, slots=True)
class LandedItem:
    """A change that was taken."""

    item: Item
    outcome: Outcome


def land_item_change(
    record: RawRecord, lake: Lake, *, images: ImageFetcher, origin: str
) -> LandedItem:
    """Land an item or its tombstone.

    Args:
        record: untrusted.
        lake: written to.
        images: fetches the item's image; closed by the caller.
        origin: who sent it, kept with the commit.

    Raises:
        RecordError: it cannot be landed, and is a dead letter now.
    """
    try:
        parsed: Item | RecordError = parse_item(record)
    except RecordError as error:
        parsed = error
    batch = Batch(consumed=1)
    [loaded] = images.load([(record, parsed)])
    batch.add_loaded(loaded, failed_at=datetime.now(UTC))
    report = write_items(batch, lake, origin=origin)
    if isinstance(loaded.item, RecordError):
        raise loaded.item
    return LandedItem(loaded.item, _outcome(report.items))


def _outcome(counts: UpsertCounts) -> Outcome:
    for name in ("inserted", "updated", "deleted", "unchanged"):
        if getattr(counts, name):
            return name
    return "stale"
