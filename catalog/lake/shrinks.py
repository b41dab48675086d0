"""Commits after which a table holds fewer rows, and that Ponder did not make.

Ponder takes rows away by merges, and by overwrites that name the keys they replace. A commit that
deletes or overwrites otherwise is somebody else's: a job with the wrong address, a notebook, a
write with `mode="overwrite"`. What a restore has undone since is none, nor is what was accepted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, EVENT_CORRECTIONS, EVENTS, ITEM_VERSIONS, ITEMS, Table

MAX_COMMITS = 2_000
"""Looked at, the newest: a week of landings every five minutes. Each is a file of the log."""

ACCEPTED = "ponder/accepted-shrinks"
"""Application that records the last commit whose shrinking somebody accepted."""

MADE_FROM = ((ITEMS, (ITEM_VERSIONS, EMBEDDINGS)), (EVENTS, (EVENT_CORRECTIONS,)))
"""Tables, and those that cannot hold anything unless they were there first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shrink:
    """One commit that took rows away."""

    version: int
    at: datetime

    operation: str
    """As Delta names it."""

    rows_before: int
    rows_after: int

    @property
    def num_lost(self) -> int:
        """Rows that are gone."""
        return self.rows_before - self.rows_after


def unexplained_shrinks(lake: Lake, table: Table) -> list[Shrink]:
    """Return the commits that took rows of a table away and that Ponder did not make, newest first.

    Commits that the history no longer holds are not found.
    """
    delta = lake.delta(table)
    if delta is None:
        return []
    accepted = lake.last_transaction(table, ACCEPTED)
    history = delta.history(MAX_COMMITS)
    suspects = [each for each in _in_force(history) if _takes_rows(each)]
    return [
        Shrink(
            version=entry["version"],
            at=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
            operation=entry["operation"],
            rows_before=before,
            rows_after=after,
        )
        for entry in suspects
        if accepted is None or entry["version"] > accepted
        for before, after in _row_counts(delta, entry["version"])
        if after < before
    ]


def accept_shrinks(lake: Lake, table: Table, *, reason: str) -> int:
    """Record that what a table lost until now was meant to go; return its last commit.

    Args:
        lake: its tables.
        table: one that exists.
        reason: kept with the commit, and shown by its history.

    Raises:
        ValueError: the table does not exist, or no reason is given.
    """
    version = lake.version(table)
    if version is None or not reason.strip():
        raise ValueError(
            f"what table {table.name!r} lost can be accepted if it exists and a reason is given; "
            f"got commit {version}, reason {reason!r}"
        )
    lake.set_transactions(table, {ACCEPTED: version}, origin=reason)
    return version


def lost_tables(lake: Lake) -> dict[str, tuple[str, ...]]:
    """Return the tables that are gone although others were made from them, and those, by name."""
    lost: dict[str, tuple[str, ...]] = {}
    for table, made in MADE_FROM:
        if lake.version(table) is None:
            there = tuple(each.name for each in made if lake.version(each) is not None)
            lost |= {table.name: there} if there else {}
    return lost


def _in_force(history: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the commits that no later restore has undone, newest first."""
    undone_after: tuple[str, int] | None = None
    for entry in history:
        if undone_after is not None and entry[undone_after[0]] > undone_after[1]:
            continue
        if entry["operation"] == "RESTORE":
            asked = entry["operationParameters"]  # for a commit or for a moment
            named = "version" if "version" in asked else "datetime"
            undone_after = "version" if named == "version" else "timestamp", int(asked[named])
            continue
        yield entry


def _takes_rows(entry: Mapping[str, Any]) -> bool:
    parameters = entry.get("operationParameters") or {}
    if entry["operation"] == "WRITE":
        return parameters.get("mode") == "Overwrite" and not parameters.get("predicate")
    return entry["operation"].startswith(("DELETE", "TRUNCATE", "REPLACE", "CREATE OR REPLACE"))


def _row_counts(delta: DeltaTable, version: int) -> Iterator[tuple[int, int]]:
    """Yield the rows before and after a commit; nothing where that is no longer known."""
    try:
        yield _num_rows(delta, version - 1), _num_rows(delta, version)
    except DeltaError:
        return


def _num_rows(delta: DeltaTable, version: int) -> int:
    if version < 0:
        return 0
    delta.load_as_version(version)
    files = pl.DataFrame(delta.get_add_actions(flatten=True))
    return int(files["num_records"].sum()) if files.height else 0
