"""Records into the lake: checked one by one, written in batches, nothing lost.

A record that cannot be landed goes to `dead_letters` as it came, with the reason. Landing the same
records again changes no table, so a crash between two writes is healed by starting over.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from time import perf_counter

import polars as pl

from catalog.batch import Batch
from catalog.lake import Lake
from catalog.loader import Loaded, PictureLoader
from catalog.media import DEFAULTS, MediaConfig
from catalog.records import Item, RawRecord, RecordError, named_item, parse_event, parse_item
from catalog.report import LandingReport
from catalog.snapshot import STORED_COLUMNS, absent_tombstones, date_changes
from catalog.source import Source
from catalog.tables import EVENTS, ITEMS, MEDIA

MAX_BATCH_BYTES = 256_000_000
"""Pictures and rejected messages held before a batch of items is written early."""

Progress = Callable[[int], None]
"""Called after every batch with the number of records it held."""

logger = logging.getLogger(__name__)


def land(
    source: Source,
    lake: Lake,
    *,
    media: MediaConfig = DEFAULTS,
    max_delete_share: float = 0.1,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> LandingReport:
    """What came of landing all items, then all events, of a source.

    Args:
        source: see `catalog.source.open_source`.
        lake: written to.
        media: where pictures may be fetched from, and their limits.
        max_delete_share: of the lake's items, the largest share that a snapshot may delete by
            lacking them, in [0, 1]. Other sources delete by tombstones only.
        now: the time of the landing; dates failures and the changes of a snapshot.
        progress: told of every batch.

    Raises:
        ValueError: a snapshot lacks too many of the lake's items. Those it has were landed; the
            events were not.
    """
    with PictureLoader(media, base_dir=source.base_dir) as pictures:
        landed = land_items(
            source.items(),
            lake,
            pictures=pictures,
            snapshot=source.is_snapshot,
            max_delete_share=max_delete_share,
            now=now,
            progress=progress,
        )
    return landed + land_events(source.events(), lake, now=now, progress=progress)


def land_items(
    records: Iterable[RawRecord],
    lake: Lake,
    *,
    pictures: PictureLoader | None = None,
    batch_rows: int = 5_000,
    snapshot: bool = False,
    max_delete_share: float = 0.1,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> LandingReport:
    """What came of landing item records, pictures included.

    Args:
        records: of the `items` topic.
        lake: written to.
        pictures: loads their pictures; None refuses paths and allows no more than by default.
        batch_rows: records per commit; fewer where their pictures reach 256 MB.
        snapshot: the records are the whole catalogue, each item once; see `catalog.snapshot`.
        max_delete_share: see `land`.
        now: see `land`.
        progress: told of every batch.

    Raises:
        ValueError: a snapshot lacks too many of the lake's items, or holds a record that does not
            even name its item. What is good was landed, nothing was deleted.
    """
    now = now or datetime.now(UTC)
    stored = lake.read(ITEMS, STORED_COLUMNS) if snapshot else None
    seen: set[str | None] | None = set() if snapshot else None
    report = LandingReport()
    loaded = (pictures or PictureLoader()).load(_parsed_items(records, seen=seen))
    for batch in _item_batches(loaded, batch_rows=batch_rows, now=now):
        report += _write_items(batch, lake, stored=stored, now=now)
        if progress:
            progress(batch.consumed)
    if stored is not None and seen is not None:
        if None in seen:  # a record that names no item may be any of those that seem to be gone
            raise ValueError(
                "a snapshot must name every item it holds, got records that cannot be read (see "
                "dead_letters); the others were landed, nothing was deleted"
            )
        gone = absent_tombstones(stored, seen, now=now, max_delete_share=max_delete_share)
        report += LandingReport(items=lake.upsert_items(gone))
    return report


def land_events(
    records: Iterable[RawRecord],
    lake: Lake,
    *,
    batch_rows: int = 50_000,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> LandingReport:
    """What came of landing event records; an event id that is stored already is skipped.

    Args:
        records: of the `events` topic.
        lake: written to.
        batch_rows: records per commit.
        now: see `land`.
        progress: told of every batch.
    """
    now = now or datetime.now(UTC)
    report = LandingReport()
    remaining = iter(records)
    while chunk := list(islice(remaining, batch_rows)):
        report += _write_events(_checked_events(chunk, now=now), lake)
        if progress:
            progress(len(chunk))
    return report


def _parsed_items(
    records: Iterable[RawRecord], *, seen: set[str | None] | None
) -> Iterator[tuple[RawRecord, Item | RecordError]]:
    for record in records:
        try:
            item = parse_item(record)
            if seen is not None:
                _mark_seen(item.item_id, seen)
        except RecordError as error:
            if seen is not None:
                seen.add(named_item(record))  # it is in the snapshot, so it is not gone
            yield record, error
        else:
            yield record, item


def _item_batches(loaded: Iterable[Loaded], *, batch_rows: int, now: datetime) -> Iterator[Batch]:
    batch = Batch()
    for record, item, picture in loaded:
        if isinstance(item, RecordError):
            batch.reject(record, item, failed_at=now)
        else:
            batch.add_item(item, picture)
        batch.consumed += 1
        if batch.consumed >= batch_rows or batch.held_bytes >= MAX_BATCH_BYTES:
            yield batch
            batch = Batch()
    if batch.consumed:
        yield batch


def _mark_seen(item_id: str, seen: set[str | None]) -> None:
    if item_id in seen:
        raise RecordError("validate", f"a snapshot must hold an item once, got {item_id!r} again")
    seen.add(item_id)


def _checked_events(records: list[RawRecord], *, now: datetime) -> Batch:
    batch = Batch(consumed=len(records))
    for record in records:
        try:
            batch.add_event(parse_event(record))
        except RecordError as error:
            batch.reject(record, error, failed_at=now)
    return batch


def _write_items(
    batch: Batch, lake: Lake, *, stored: pl.DataFrame | None, now: datetime
) -> LandingReport:
    started = perf_counter()
    items = batch.items()
    if stored is not None:
        items = date_changes(items, stored, now=now)
    pictures = lake.insert_new(MEDIA, batch.pictures())  # first: no item may point at nothing
    report = LandingReport(
        consumed=batch.consumed,
        pictures=pictures,
        items=lake.upsert_items(items),
        dead_letters=lake.put_dead_letters(batch.dead_letters()),
        rejected=batch.rejected,
    )
    _log("items", report, upserted=report.items.inserted + report.items.updated, started=started)
    return report


def _write_events(batch: Batch, lake: Lake) -> LandingReport:
    started = perf_counter()
    events = batch.events()
    new = lake.insert_new(EVENTS, events)
    report = LandingReport(
        consumed=batch.consumed,
        events=new,
        known_events=events.height - new,
        dead_letters=lake.put_dead_letters(batch.dead_letters()),
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
