"""Keep the lake's tables small and tell their history."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from catalog.lake.tables import TABLES
from ponder.settings import Settings
from ponder.steps.land import Counts
from ponder.wiring import open_lake


def compact(settings: Settings) -> Counts:
    """Makes few large files of many small ones in every table; no row changes."""
    from catalog.lake.maintenance import compact

    return {name: asdict(done) for name, done in compact(open_lake(settings)).items()}


def vacuum(
    settings: Settings, *, days: int, force: bool, media: bool, deleted: bool, dry_run: bool
) -> Counts:
    """Removes files that no moment within the last `days` needs.

    Args:
        settings: the deployment.
        days: tables stay readable as they were up to so long ago.
        force: allows less than 7 days.
        media: drops images that no item shows and that came longer ago.
        deleted: drops what was made of items that were deleted longer ago.
        dry_run: only counts.
    """
    from catalog.lake.deleted_items import drop_remains
    from catalog.lake.maintenance import Retention, drop_unreferenced_media, vacuum

    lake, retention = open_lake(settings), Retention(hours=days * 24, force=force)
    counts: Counts = {}
    now = datetime.now(UTC)
    if deleted:
        counts["dropped_remains"] = drop_remains(lake, retention, now=now, dry_run=dry_run)
    if media:
        counts["dropped_media"] = drop_unreferenced_media(lake, retention, now=now, dry_run=dry_run)
    tables = vacuum(lake, retention, dry_run=dry_run)
    return counts | {name: asdict(done) for name, done in tables.items()}


def history(settings: Settings, table: str, *, limit: int | None = None) -> list[dict[str, Any]]:
    """The commits of a table, newest first.

    Raises:
        ValueError: the lake has no table of that name.
    """
    from catalog.lake.maintenance import history

    if table not in TABLES:
        raise ValueError(f"the table must be one of {', '.join(TABLES)}, got {table!r}")
    return history(open_lake(settings), TABLES[table], limit=limit)
