"""Steps beside the nightly ones: dead letters, a landing of the past, and the lake's upkeep.

Like `ponder.steps.land`, functions of settings and plain values for the command line and for
DAGs.
"""

import base64
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog.lake.tables import DEAD_LETTERS, TABLES
from ponder.settings import Settings
from ponder.steps.land import Counts, ignore_progress, plain_report
from ponder.wiring import kafka_config, media_config, open_lake

if TYPE_CHECKING:
    from catalog.ingest.dead_letters import LetterFilter
    from catalog.kafka.backfill import Window

HEAD = ("topic", "partition", "offset", "stage", "reason", "failed_at")
"""What a list tells of a dead letter."""


def list_letters(settings: Settings, letter_filter: "LetterFilter", *, limit: int) -> list[Counts]:
    """The newest dead letters that are meant, without their bytes, newest first."""
    letters = letter_filter.matching(open_lake(settings).scan(DEAD_LETTERS)).select(HEAD)
    by, descending = ["failed_at", *DEAD_LETTERS.key], [True, False, False, False]
    return letters.sort(by, descending=descending).collect().head(limit).to_dicts()


def show_letter(settings: Settings, topic: str, partition: int, offset: int) -> Counts:
    """A dead letter as it is stored; key and value as text, and in base64 to the last byte.

    Raises:
        LookupError: there is none.
    """
    from catalog.ingest.dead_letters import LetterFilter

    place = LetterFilter(topic=topic, partition=partition, offset=offset)
    found = place.matching(open_lake(settings).scan(DEAD_LETTERS)).collect().to_dicts()
    if not found:
        raise LookupError(
            f"there is no dead letter of {topic!r}, partition {partition}, offset {offset}; "
            "`ponder dead-letters list` shows those there are"
        )
    [letter] = found
    for name in ("key", "value"):
        stored = letter.pop(name)
        letter[name] = None if stored is None else stored.decode(errors="backslashreplace")
        letter[f"{name}_base64"] = None if stored is None else base64.b64encode(stored).decode()
        letter[f"{name}_bytes"] = None if stored is None else len(stored)
    return letter


def replay_letters(
    settings: Settings,
    letter_filter: "LetterFilter",
    *,
    data: Path | None = None,
    progress: Callable[[int], None] = ignore_progress,
) -> Counts:
    """Lands the dead letters that are meant again.

    Those of stage `embed` are cleared, so that the next embedding tries their items.

    Args:
        settings: the deployment.
        letter_filter: the letters to replay.
        data: the folder that images named by a path lie in, for letters that come from files.
        progress: told how many more letters were replayed.
    """
    from catalog.ingest.dead_letters import replay

    report = replay(
        open_lake(settings),
        letter_filter,
        base_dir=data,
        media=media_config(settings),
        progress=progress,
    )
    counts = {name: getattr(report, name) for name in ("landed", "to_embed", "rejected", "unknown")}
    return counts | {"reasons": dict(report.landing.rejected)}


def drop_letters(settings: Settings, letter_filter: "LetterFilter") -> Counts:
    """Throws the dead letters that are meant away, and the records in them."""
    from catalog.ingest.dead_letters import drop

    return {"dropped": drop(open_lake(settings), letter_filter)}


def count_letters(settings: Settings, letter_filter: "LetterFilter") -> int:
    """How many dead letters are meant."""
    letters = letter_filter.matching(open_lake(settings).scan(DEAD_LETTERS))
    return letters.select(pl.len()).collect().item()


def backfill(
    settings: Settings, window: "Window", *, progress: Callable[[int], None] = ignore_progress
) -> Counts:
    """Lands a past window of the topics again; the group's place in them does not move.

    Raises:
        ValueError: no brokers are set.
    """
    from catalog.kafka.backfill import backfill

    report = backfill(
        kafka_config(settings),
        open_lake(settings),
        window,
        media=media_config(settings),
        progress=progress,
    )
    return plain_report(report)


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
