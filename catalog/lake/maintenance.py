"""Upkeep of the lake's tables: small files made large, old files removed, images nobody shows.

A commit replaces whole files and keeps the ones it replaced, so that a table can be read as it was.
Compaction and vacuum change no row: whoever reads a table sees the same before and after, unless it
is read as of a moment further back than the retention.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from catalog.lake.lake import Lake
from catalog.lake.row_groups import row_groups
from catalog.lake.shown_media import shown_hashes
from catalog.lake.tables import ITEMS, MEDIA, TABLES, Table
from catalog.lake.time_travel import HISTORY_HOURS, history_properties

MIN_HISTORY_HOURS = 7 * 24

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How much of the past a vacuum leaves."""

    hours: int = HISTORY_HOURS
    """Tables stay readable as they were up to so many hours ago."""

    force: bool = False
    """Allows less than 7 days. A reader or writer at work for longer than what is kept, or a
    landing that has written a file but not committed it, then loses its files."""

    def __post_init__(self) -> None:
        if self.hours < 0:
            raise ValueError(f"hours must be >= 0, got {self.hours}")
        if self.hours < MIN_HISTORY_HOURS and not self.force:
            raise ValueError(
                f"at least {MIN_HISTORY_HOURS} hours must be kept, got {self.hours}; force it if "
                "nothing reads or writes the lake, and nobody will ask how it was"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Compaction:
    """What compacting a table did."""

    removed: int
    """Small files replaced. They stay on disk until a vacuum."""

    added: int
    """Files that replace them."""

    busy: bool = False
    """Another writer committed first; nothing was done, try again later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vacuum:
    """Files that a vacuum removed, or would."""

    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One commit of a table."""

    version: int
    at: datetime

    operation: str
    """As Delta names it."""

    written: int
    """Rows; 0 where none were or Delta does not say."""

    deleted: int
    """Rows; 0 where none were or Delta does not say."""

    origin: str = ""
    """Who sent the rows, where the writer said so."""


def compact(lake: Lake) -> dict[str, Compaction]:
    """Compact every table that exists; return what that did, by table name."""
    return {table.name: _compact(delta, table) for table, delta in _existing(lake)}


def vacuum(
    lake: Lake, retention: Retention | None = None, *, dry_run: bool = False
) -> dict[str, Vacuum]:
    """Remove the files that no kept moment needs; return how many, by table name.

    Files that a killed writer left behind count as well.

    Args:
        lake: its tables.
        retention: how much of the past stays; 30 days by default.
        dry_run: only counts.
    """
    retention = retention or Retention()
    return {
        table.name: _vacuum(delta, retention, sizes=lake.file_bytes(table), dry_run=dry_run)
        for table, delta in _existing(lake)
    }


def drop_unreferenced_media(
    lake: Lake, retention: Retention | None = None, *, now: datetime, dry_run: bool = False
) -> int:
    """Drop the images, clips and sounds that no item shows and that came long ago; return how many.

    Their bytes go at a vacuum, after another retention; until then they can be read as of before.
    One that is landed again while this runs may be lost, so run it while nothing lands; an
    audit finds such an item.

    Args:
        lake: its tables `items` and `media`.
        retention: those that came later than so long ago stay.
        now: with a time zone.
        dry_run: only counts.
    """
    retention = retention or Retention()
    before = now - timedelta(hours=retention.hours)
    try:
        old = lake.scan(MEDIA, as_of=before).select("hash")
    except ValueError:  # the history begins later, so the age of no image is known
        return 0
    shown = shown_hashes(lake.scan(ITEMS))
    present = lake.scan(MEDIA).select("hash")
    doomed = present.join(old, on="hash", how="semi").join(shown, on="hash", how="anti").collect()
    return doomed.height if dry_run else lake.delete(MEDIA, doomed)


def history(lake: Lake, table: Table, *, limit: int | None = None) -> list[Commit]:
    """Return the commits of a table that are remembered, newest first; none of one not there."""
    delta = lake.delta(table)
    return [] if delta is None else [_commit(entry) for entry in delta.history(limit)]


def _existing(lake: Lake) -> Iterator[tuple[Table, DeltaTable]]:
    for table in TABLES.values():
        if (delta := lake.delta(table)) is not None:
            yield table, delta


def _compact(delta: DeltaTable, table: Table) -> Compaction:
    try:
        metrics = delta.optimize.compact(writer_properties=row_groups(table))
    except CommitFailedError:
        return Compaction(removed=0, added=0, busy=True)
    return Compaction(removed=metrics["numFilesRemoved"], added=metrics["numFilesAdded"])


def _vacuum(
    delta: DeltaTable, retention: Retention, *, sizes: Mapping[str, int], dry_run: bool
) -> Vacuum:
    # `full` takes what is not in the log too. It knows when a file was removed only as long as the
    # log does, so the log must remember for as long as files are kept.
    options = {
        "retention_hours": retention.hours,
        "enforce_retention_duration": False,
        "full": True,
    }
    doomed = delta.vacuum(dry_run=True, **options)
    if not dry_run:
        _remember(delta, retention)
        if doomed:
            doomed = delta.vacuum(dry_run=False, **options)
    there = [path for path in doomed if path in sizes]  # the log also names files long gone
    return Vacuum(files=len(there), bytes=sum(sizes[path] for path in there))


def _remember(delta: DeltaTable, retention: Retention) -> None:
    wanted = history_properties(max(retention.hours, MIN_HISTORY_HOURS))
    present = delta.metadata().configuration
    if any(present.get(name) != value for name, value in wanted.items()):
        delta.alter.set_table_properties(wanted)


def _commit(entry: Mapping[str, Any]) -> Commit:
    metrics = entry.get("operationMetrics") or {}
    written = ("num_added_rows", "num_target_rows_inserted", "num_target_rows_updated")
    return Commit(
        version=entry["version"],
        at=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
        operation=entry["operation"],
        written=sum(metrics.get(name, 0) for name in written),
        deleted=metrics.get("num_target_rows_deleted", 0),
        origin=entry.get("origin", ""),
    )
