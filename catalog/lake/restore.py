"""Bring a table of the lake back to what it was, by a new commit with the rows of an earlier one.

Nothing is lost by it: the state that is left behind is a commit of the history as any other, and
can be restored in turn. The numbers that applications recorded, such as how far a topic was landed,
stay where they are; what landed since must be landed again by its window.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from catalog.lake.lake import Lake
from catalog.lake.tables import Table

ORIGIN = "ponder restore"


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierState:
    """What a table was, beside what it is."""

    table: str

    version: int
    """Commit that it would be brought back to."""

    at: datetime
    """When that was made."""

    rows: int
    """Of then."""

    present_version: int
    present_rows: int


def earlier_state(lake: Lake, table: Table, to: int | datetime) -> EarlierState:
    """Return what a table was at a commit, or at a moment: after the last commit made by then.

    Raises:
        ValueError: there is no such table, or its history does not hold that.
    """
    delta = lake.delta(table)
    if delta is None:
        raise ValueError(f"table {table.name!r} must exist to be restored, got none; land first")
    moments = {
        entry["version"]: datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
        for entry in delta.history()
    }
    present, present_rows = delta.version(), _num_rows(delta)
    by_then = [version for version, at in moments.items() if isinstance(to, int) or at <= to]
    version = to if isinstance(to, int) else max(by_then, default=-1)
    if version not in moments:
        oldest = min(moments)
        raise ValueError(
            f"a commit of {table.name!r} must be one of {oldest} to {present}, the oldest made at "
            f"{moments[oldest].isoformat()}, got {to}; ponder lake history {table.name} lists them"
        )
    delta.load_as_version(version)
    return EarlierState(
        table=table.name,
        version=version,
        at=moments[version],
        rows=_num_rows(delta),
        present_version=present,
        present_rows=present_rows,
    )


def restore(lake: Lake, table: Table, version: int) -> int:
    """Bring a table back to a commit; return the number of the new one.

    Raises:
        ValueError: a vacuum has removed files of that commit.
    """
    delta = lake.delta(table)
    assert delta is not None  # `earlier_state` looked
    try:
        delta.restore(
            version, commit_properties=CommitProperties(custom_metadata={"origin": ORIGIN})
        )
    except DeltaError as error:
        raise ValueError(
            f"commit {version} of {table.name!r} must have its files, and a vacuum has removed "
            f"some; take a later one: {error}"
        ) from error
    return delta.version()


def _num_rows(delta: DeltaTable) -> int:
    files = pl.DataFrame(delta.get_add_actions(flatten=True))
    return int(files["num_records"].sum()) if files.height else 0
