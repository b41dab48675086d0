"""Keep the lake's tables small, tell their history, and accept what they lost."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from catalog.lake.tables import TABLES, Table
from ponder.settings import Settings
from ponder.wiring.stores import open_lake

if TYPE_CHECKING:
    from catalog.lake.maintenance import Commit, Compaction, Vacuum


@dataclass(frozen=True, kw_only=True, slots=True)
class Vacuumed:
    """What a vacuum removed, or would remove."""

    dropped_remains: dict[str, int] | None
    """Rows made of items that were deleted, by table; None when they were to stay."""

    dropped_media: int | None
    """Images that no item shows; None when they were to stay."""

    tables: dict[str, "Vacuum"]
    """Files, by table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """What was accepted as gone."""

    table: str

    commit: int
    """The last one that was looked at."""

    rows: int
    """Rows that were lost until then, by commits that Ponder did not make."""


def compact(settings: Settings) -> dict[str, "Compaction"]:
    """Make few large files of many small ones; return what it did by table. No row changes."""
    from catalog.lake.maintenance import compact

    return compact(open_lake(settings))


def vacuum(
    settings: Settings, *, days: int, force: bool, media: bool, deleted: bool, dry_run: bool
) -> Vacuumed:
    """Remove files that no moment within the last `days` needs.

    Args:
        settings: the deployment.
        days: tables stay readable as they were up to so long ago.
        force: allows less than 7 days.
        media: drops images that no item shows and that came longer ago.
        deleted: drops what was made of items that were deleted longer ago.
        dry_run: only counts.
    """
    from catalog.lake.deleted_items import drop_rows_of_deleted
    from catalog.lake.maintenance import Retention, drop_unreferenced_media, vacuum

    lake, retention = open_lake(settings), Retention(hours=days * 24, force=force)
    now = datetime.now(UTC)
    dropped_remains = dropped_media = None
    if deleted:
        dropped_remains = drop_rows_of_deleted(
            lake,
            retention,
            now=now,
            item_topic=settings.kafka_item_topic,
            event_topic=settings.kafka_event_topic,
            dry_run=dry_run,
        )
    if media:
        dropped_media = drop_unreferenced_media(lake, retention, now=now, dry_run=dry_run)
    return Vacuumed(
        dropped_remains=dropped_remains,
        dropped_media=dropped_media,
        tables=vacuum(lake, retention, dry_run=dry_run),
    )


def history(settings: Settings, table: str, *, limit: int | None = None) -> list["Commit"]:
    """Return the commits of a table, newest first.

    Raises:
        ValueError: the lake has no table of that name.
    """
    from catalog.lake.maintenance import history

    return history(open_lake(settings), _table(table), limit=limit)


def accept(settings: Settings, table: str, *, reason: str) -> Accepted:
    """Accept that what a table lost until now was meant to go; an audit finds it no more.

    Raises:
        ValueError: the lake has no table of that name, or no reason is given.
    """
    from catalog.lake.shrinks import accept_shrinks, unexplained_shrinks

    lake, named = open_lake(settings), _table(table)
    num_rows = sum(each.num_lost for each in unexplained_shrinks(lake, named))
    commit = accept_shrinks(lake, named, reason=reason)
    return Accepted(table=table, commit=commit, rows=num_rows)


def _table(name: str) -> Table:
    if name not in TABLES:
        raise ValueError(f"the table must be one of {', '.join(TABLES)}, got {name!r}")
    return TABLES[name]
