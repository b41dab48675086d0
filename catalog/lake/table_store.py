"""Where the lake's tables lie: Delta tables below one folder or bucket, opened and scanned."""

import logging
from collections.abc import Mapping, Sequence

import polars as pl
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, PyFileSystem

from catalog.lake.migration import migrate
from catalog.lake.tables import LANDED_AT, Table
from catalog.lake.time_travel import HISTORY_HOURS, history_properties

logger = logging.getLogger(__name__)


class TableStore:
    """Opens the Delta tables of one lake, and makes those that are not there yet.

    A table that an earlier release kept under another name is migrated as soon as it is looked at
    (`catalog.lake.migration`); one that it made with fewer columns gets the others when it is
    opened to be written to, and reads as if they were null until then.
    """

    def __init__(self, uri: str, storage_options: Mapping[str, str]) -> None:
        """Point at a lake; see `catalog.lake.lake.Lake`."""
        self.uri = uri.rstrip("/")
        self._storage_options = dict(storage_options)

    def open(self, table: Table) -> DeltaTable | None:
        """Open a table; None when it does not exist yet."""
        delta = self._find(table)
        if delta is None and table.former_name is not None:
            former_uri = f"{self.uri}/{table.former_name}"
            migrate(former_uri, self._uri_of(table), storage_options=self._storage_options)
            return self._find(table)  # looked for again: another process may have been faster
        return delta

    def open_or_create(self, table: Table) -> DeltaTable:
        """Open a table to be written to: it exists afterwards, with all of its columns."""
        delta = self.open(table)
        if delta is not None:
            return self._with_all_columns(delta, table)
        try:
            return DeltaTable.create(
                self._uri_of(table),
                schema=pl.DataFrame(schema=table.stored_schema).to_arrow().schema,
                storage_options=self._storage_options,
                configuration=history_properties(HISTORY_HOURS),
            )
        except DeltaError:  # another writer may have created it in between
            return DeltaTable(self._uri_of(table), storage_options=self._storage_options)

    def scan(self, delta: DeltaTable | None, table: Table) -> pl.LazyFrame:
        """Scan what was opened, in the columns of the table; no rows of None."""
        stored = self.scan_stored(delta, table)
        return stored.drop(LANDED_AT) if table.keeps_landings else stored

    def scan_stored(self, delta: DeltaTable | None, table: Table) -> pl.LazyFrame:
        """Scan what was opened, in the columns of its files."""
        schema = table.stored_schema
        if delta is None:
            return pl.LazyFrame(schema=schema)
        stored = pl.scan_delta(delta, storage_options=self._storage_options)
        missing = _missing_columns(delta, table)
        return stored.with_columns(pl.lit(None, schema[name]).alias(name) for name in missing)

    def scan_files(self, table: Table, files: Sequence[str]) -> pl.LazyFrame:
        """Scan files of a table by their addresses; see `catalog.lake.lake.Lake`."""
        if not files:
            return table.empty().lazy()
        return pl.scan_parquet(
            list(files),
            schema=table.schema,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=self._storage_options,
        )

    def file_bytes(self, table: Table) -> dict[str, int]:
        """Return the size of every file below a table's folder, its log included, by path."""
        handler = DeltaStorageHandler(self._uri_of(table), self._storage_options)
        files = PyFileSystem(handler).get_file_info(FileSelector("", recursive=True))
        return {file.path: file.size for file in files if file.is_file}

    def _uri_of(self, table: Table) -> str:
        return f"{self.uri}/{table.name}"

    def _find(self, table: Table) -> DeltaTable | None:
        try:
            return DeltaTable(self._uri_of(table), storage_options=self._storage_options)
        except TableNotFoundError:
            return None

    def _with_all_columns(self, delta: DeltaTable, table: Table) -> DeltaTable:
        if not (missing := _missing_columns(delta, table)):
            return delta
        columns = pl.DataFrame(schema=table.stored_schema).select(missing)
        fields = Schema.from_arrow(columns.to_arrow().schema).fields
        delta.alter.add_columns(fields)  # done twice, by two writers, it changes nothing
        logger.info("table=%s added columns=%s", table.name, ",".join(missing))
        return DeltaTable(self._uri_of(table), storage_options=self._storage_options)


def _missing_columns(delta: DeltaTable, table: Table) -> list[str]:
    stored = {field.name for field in delta.schema().fields}
    return [name for name in table.stored_schema.names() if name not in stored]
