"""Records into the lake: checked one by one, written in batches, nothing lost.

A record that cannot be landed goes to `dead_letters` as it came, with the reason. Landing the same
records again changes no table, so a crash between two writes is healed by starting over.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

from catalog.images.fetcher import ImageFetcher, Loaded
from catalog.images.image import DEFAULTS, ImageConfig
from catalog.ingest.batch import Batch
from catalog.ingest.report import LandingReport
from catalog.ingest.snapshot import STORED_COLUMNS, SnapshotRefused, absent_tombstones, date_changes
from catalog.ingest.source import Source
from catalog.ingest.writer import MAX_HELD_BYTES, write_events, write_items
from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS
from catalog.record_parsing import named_item, parse_event, parse_item
from catalog.records import Item, RawRecord, RecordError

Progress = Callable[[int], None]
"""Called after every batch with the number of records it held."""


def land(
    source: Source,
    lake: Lake,
    *,
    image_config: ImageConfig = DEFAULTS,
    max_delete_share: float = 0.1,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> LandingReport:
    """Land all items, then all events, of a source.

    Args:
        source: see `catalog.ingest.source.open_source`.
        lake: written to.
        image_config: where images may be fetched from, and their limits.
        max_delete_share: of the lake's items, the largest share that a snapshot may delete by
            lacking them, in [0, 1]. Other sources delete by tombstones only.
        now: the time of the landing; dates failures, the changes of a snapshot, and all that lands:
            what one landing brings, however long it takes, is known from one moment on.
        progress: told of every batch.

    Raises:
        ValueError: a snapshot lacks too many of the lake's items, or holds a record that does not
            name its item. Everything it has was landed, events too; nothing was deleted.
    """
    now = now or datetime.now(UTC)
    try:
        with ImageFetcher(image_config, base_dir=source.base_dir) as images:
            landed = land_items(
                source.items(),
                lake,
                images=images,
                snapshot=source.is_snapshot,
                max_delete_share=max_delete_share,
                now=now,
                progress=progress,
            )
    except SnapshotRefused:
        land_events(source.events(), lake, now=now, progress=progress)
        raise
    return landed + land_events(source.events(), lake, now=now, progress=progress)


def land_items(
    records: Iterable[RawRecord],
    lake: Lake,
    *,
    images: ImageFetcher | None = None,
    batch_rows: int = 5_000,
    snapshot: bool = False,
    max_delete_share: float = 0.1,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> LandingReport:
    """Land item records, images included.

    Args:
        records: of the `items` topic.
        lake: written to.
        images: loads their images; None refuses paths and allows no more than by default.
        batch_rows: records per commit; fewer where their images reach 256 MB.
        snapshot: the records are the whole catalogue, each item once; see
            `catalog.ingest.snapshot`.
        max_delete_share: see `land`.
        now: see `land`.
        progress: told of every batch.

    Raises:
        SnapshotRefused: a snapshot lacks too many of the lake's items; or it lacks some, and holds
            a record that does not even name its item. What is good was landed, nothing was deleted.
    """
    now = now or datetime.now(UTC)
    stored = lake.read(ITEMS, STORED_COLUMNS) if snapshot else None
    seen: set[str | None] | None = set() if snapshot else None
    report = LandingReport()
    loaded = (images or ImageFetcher()).load(_parsed_items(records, seen=seen))
    for batch in _item_batches(loaded, batch_rows=batch_rows, now=now):
        items = batch.items()
        if stored is not None:
            items = date_changes(items, stored, now=now)
        report += write_items(batch, lake, items=items, landed_at=now)
        if progress:
            progress(batch.consumed)
    if stored is not None and seen is not None:
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
    """Land event records; an event id that is stored already is skipped.

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
        report += write_events(_parsed_events(chunk, now=now), lake, landed_at=now)
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
    for each in loaded:
        batch.add_loaded(each, failed_at=now)
        batch.consumed += 1
        if batch.consumed >= batch_rows or batch.held_bytes >= MAX_HELD_BYTES:
            yield batch
            batch = Batch()
    if batch.consumed:
        yield batch


def _mark_seen(item_id: str, seen: set[str | None]) -> None:
    if item_id in seen:
        raise RecordError("validate", f"a snapshot must hold an item once, got {item_id!r} again")
    seen.add(item_id)


def _parsed_events(records: list[RawRecord], *, now: datetime) -> Batch:
    batch = Batch(consumed=len(records))
    for record in records:
        try:
            batch.add_event(parse_event(record))
        except RecordError as error:
            batch.reject(record, error, failed_at=now)
    return batch
