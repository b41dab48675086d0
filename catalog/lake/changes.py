"""What a table gained and lost since it was last looked at, for whoever keeps a copy of it.

Delta says which files a commit adds and removes, and a file never changes. So only files that were
not there before are read, and where files went (a merge, a compaction) both sides are compared row
by row: a compaction then changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from catalog.lake.lake import Lake
from catalog.lake.tables import Table

MAX_COMPARED_ROWS = 2_000_000
"""Rows of files that went, above which the table is read anew: both sides would be in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableChanges:
    """What a table gained and lost, in the columns that are followed."""

    is_anew: bool
    """Whether `added` is the whole table, and whatever was known before is to be forgotten."""

    added: pl.LazyFrame
    removed: pl.LazyFrame
    """Rows that were there before. A row that changed is in both."""


class TableFollower:
    """Tells what changed in a table of the lake since it last told; not for several threads."""

    def __init__(
        self, lake: Lake, table: Table, columns: Sequence[str], *, since: int | None = None
    ) -> None:
        """Follow some columns of a table, its key among them.

        Args:
            lake: its tables.
            table: of `catalog.lake.tables`.
            columns: to be told.
            since: a commit of the table whose rows are known already; None, or where the history
                no longer reaches back to it: nothing is.
        """
        self._lake, self._table, self._columns = lake, table, list(columns)
        self._delta = None if since is None else _as_of(lake.delta(table), since)
        self._rows_of = {} if self._delta is None else _rows_of(self._delta)

    def changes(self) -> TableChanges | None:
        """Return what changed; None when nothing did, the whole table where nothing is known.

        Whoever cannot use what it returned calls `forget`, or the two would drift apart.
        """
        if self._delta is None:
            return self._anew()
        version = self._delta.version()
        self._delta.update_incremental()
        if self._delta.version() == version:
            return None
        before, self._rows_of = self._rows_of, _rows_of(self._delta)
        gone = [file for file in before if file not in self._rows_of]
        new = [file for file in self._rows_of if file not in before]
        if sum(before[file] for file in gone) > MAX_COMPARED_ROWS:
            return self._anew()
        try:
            return self._compared(new, gone)
        except FileNotFoundError:  # a vacuum was faster
            return self._anew()

    def forget(self) -> None:
        """Tell of the whole table next time."""
        self._delta = None

    def _anew(self) -> TableChanges:
        self._delta = self._lake.delta(self._table)
        self._rows_of = {} if self._delta is None else _rows_of(self._delta)
        rows = self._scan(list(self._rows_of))
        return TableChanges(is_anew=True, added=rows, removed=self._scan([]))

    def _compared(self, new: list[str], gone: list[str]) -> TableChanges:
        added, removed = self._scan(new).collect(), self._scan(gone).collect()
        if len(removed):
            added, removed = self._without(added, removed), self._without(removed, added)
        return TableChanges(is_anew=False, added=added.lazy(), removed=removed.lazy())

    def _without(self, rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
        return rows.join(others, on=self._columns, how="anti", nulls_equal=True)

    def _scan(self, files: list[str]) -> pl.LazyFrame:
        return self._lake.scan_files(self._table, files).select(self._columns)


def _as_of(delta: DeltaTable | None, commit: int) -> DeltaTable | None:
    try:
        if delta is not None:
            delta.load_as_version(commit)
    except DeltaError:  # its log was removed
        return None
    return delta


def _rows_of(delta: DeltaTable) -> dict[str, int]:
    """Return the number of rows of every file of the table as it is now, by address."""
    actions = pl.DataFrame(delta.get_add_actions(flatten=True)).select("path", "num_records")
    rows_of = {path.rpartition("/")[2]: rows for path, rows in actions.iter_rows()}
    return {address: rows_of[address.rpartition("/")[2]] for address in delta.file_uris()}
