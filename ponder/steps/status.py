"""Count what a deployment holds."""

import logging
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from catalog.lake.index_versions import IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.maintenance import history
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, EVENTS, ITEMS, Table
from ponder.settings import Settings
from ponder.steps.embed import plan
from ponder.wiring.folders import existing_part, free_bytes, local_folders
from ponder.wiring.stores import kafka_config, open_index, open_lake
from ponder.wiring.vectors import embedded_counts

LOOKED_AT = 50
"""Commits of a table, the newest, among which the last landing is looked for."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """Rows of the lake's tables, versions of the index, and what is left to embed."""

    items: int
    """Not counting the deleted."""

    deleted_items: int
    events: int
    dead_letters: int
    embeddings: int

    left_to_embed: int
    """Items that the configured version has yet to embed."""

    indexed: dict[str, int]
    """Items that are searched, by model version: in Milvus, or of the lake's vectors where it is
    embedded."""

    live: str | None
    """The version that is served; None before the first."""

    previous: str | None
    """The version that a rollback would serve."""

    validated_at: datetime | None
    """When the live version was last validated, as every night does; None: never."""

    landed_at: datetime | None
    """When items or events were last written; None: never."""

    waiting: int | None
    """Messages that the brokers hold and the lake does not, at most; None where there are no
    brokers, or they do not answer."""

    last_night: datetime | None
    """When any version was last validated, which a night does before it ranks; None: never."""

    free_bytes: dict[str, int]
    """What the file systems of home and lake have free, of those that are on this machine."""

    alarms: list[str]
    """What that found against it, in words. It stays live until another one is promoted."""


def status(settings: Settings) -> Status:
    """Count what the deployment holds."""
    lake = open_lake(settings)
    items, deleted_items = (
        lake.scan(ITEMS).select(pl.len(), pl.col("deleted").sum()).collect().row(0)
    )
    known = IndexVersions(lake)
    live = known.live()
    served = None if live is None else known.of(live)
    return Status(
        items=items - deleted_items,
        deleted_items=deleted_items,
        events=_count(lake, EVENTS),
        dead_letters=_count(lake, DEAD_LETTERS),
        embeddings=_count(lake, EMBEDDINGS),
        left_to_embed=plan(settings).num_items,
        indexed=_indexed(settings, lake),
        live=live,
        previous=known.previous(),
        validated_at=None if served is None else served.validated_at,
        landed_at=_landed_at(lake),
        waiting=_waiting(settings, lake),
        last_night=max((v.validated_at for v in known.all() if v.validated_at), default=None),
        free_bytes={
            name: free_bytes(existing_part(folder))
            for name, folder in local_folders(settings).items()
        },
        alarms=[] if served is None else served.problems,
    )


def _indexed(settings: Settings, lake: Lake) -> dict[str, int]:
    if settings.is_embedded:  # another process may hold Milvus Lite, which answers no query
        return embedded_counts(lake)
    with open_index(settings) as milvus:
        return {version: milvus.count(version) for version in milvus.versions()}


def _count(lake: Lake, table: Table) -> int:
    return int(lake.scan(table).select(pl.len()).collect().item())


def _landed_at(lake: Lake) -> datetime | None:
    """Return when rows of items or events were last written; upkeep writes none."""
    commits = [
        commit.at
        for table in (ITEMS, EVENTS)
        for commit in history(lake, table, limit=LOOKED_AT)
        if commit.operation in ("WRITE", "MERGE")
    ]
    return max(commits, default=None)


def _waiting(settings: Settings, lake: Lake) -> int | None:
    if not settings.kafka:
        return None
    from catalog.audit import audit_sources

    try:
        return sum(each.waiting for each in audit_sources(kafka_config(settings), lake))
    except OSError as error:  # the rest is worth showing all the same
        logger.warning("what waits is not known: %s", error)
        return None
