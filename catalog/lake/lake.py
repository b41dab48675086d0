"""The lake: the tables of `catalog.lake.tables` as Delta tables below one folder or bucket.

Writers may run side by side. A write reads the table, decides what is new, and commits only if
nobody has committed since; otherwise it decides again. So no key is ever stored twice, which Delta
alone does not promise (two appends never conflict).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import polars as pl
from deltalake import DeltaTable

from catalog.lake.commits import (
    NO_TRANSACTIONS,
    Transactions,
    ahead,
    append_rows,
    attempts,
    merge_rows,
)
from catalog.lake.item_versions import versions_of
from catalog.lake.rewrites import delete_equal, replace_keys
from catalog.lake.table_store import TableStore
from catalog.lake.tables import (
    DEAD_LETTERS,
    EVENT_CORRECTIONS,
    EVENTS,
    ITEM_VERSIONS,
    ITEMS,
    LANDED_AT,
    TABLES,
    TIME,
    Table,
)
from catalog.lake.time_travel import rewind
from catalog.lake.upsert import Upsert, UpsertCounts, plan_events, plan_upsert

REPLACED_ROWS = 500

T = TypeVar("T")


class Lake:
    """Reads and writes the tables of one lake.

    A table that nobody has written to yet reads as empty; one that an earlier release kept under
    another name is migrated as soon as it is looked at (`catalog.lake.migration`). A call that
    would change nothing makes no commit; every other call makes one (a table's first call makes
    two, for the table is created).

    A write may carry `transactions`. They are recorded in the same commit as its rows, even if no
    row changes; and a write all of whose transactions are recorded already, or later ones, was made
    before and changes nothing.
    """

    def __init__(self, uri: str, *, storage_options: Mapping[str, str] | None = None) -> None:
        """Point at a lake; nothing is opened or created yet.

        Args:
            uri: a local folder, or a prefix in an object store such as `s3://bucket/lake`.
            storage_options: credentials, region and endpoint, in the names that deltalake takes.
        """
        self._tables = TableStore(uri, storage_options or {})

    @property
    def uri(self) -> str:
        """Return where the lake is."""
        return self._tables.uri

    def read(
        self,
        table: Table,
        columns: Sequence[str] | None = None,
        *,
        as_of: datetime | None = None,
    ) -> pl.DataFrame:
        """Read the rows of a table, in no particular order; see `scan`."""
        frame = self.scan(table, as_of=as_of)
        return (frame if columns is None else frame.select(columns)).collect()

    def scan(self, table: Table, *, as_of: datetime | None = None) -> pl.LazyFrame:
        """Scan a table: its rows, to be filtered before anything is read.

        Columns that a table lacks because an older release made it are null.

        Args:
            table: of `catalog.lake.tables`.
            as_of: the moment to read the table as it was at, with a time zone; None reads it as it
                is now. Before the table's first commit it was empty.

        Raises:
            ValueError: the history of the table no longer reaches back to `as_of`.
            FileNotFoundError: at `collect`; a vacuum has removed files of that moment.
        """
        delta = self._tables.open(table)
        if delta is not None and as_of is not None:
            rewind(delta, as_of)
        return self._tables.scan(delta, table)

    def scan_landed(self, table: Table) -> pl.LazyFrame:
        """Scan a table that keeps landings, with `landed_at` after its columns.

        Null where an earlier release landed the row.
        """
        return self._tables.scan_stored(self._tables.open(table), table)

    def scan_files(self, table: Table, files: Sequence[str]) -> pl.LazyFrame:
        """Scan files of a table by their addresses, those that are no longer part of it too.

        Raises:
            FileNotFoundError: at `collect`; a vacuum has removed one.
        """
        return self._tables.scan_files(table, files)

    def delta(self, table: Table) -> DeltaTable | None:
        """Open the Delta table itself, for its upkeep; None when it does not exist yet."""
        return self._tables.open(table)

    def file_bytes(self, table: Table) -> dict[str, int]:
        """Return the size of every file below a table's folder, its log included, by path."""
        return self._tables.file_bytes(table)

    def version(self, table: Table) -> int | None:
        """Return the number of the table's last commit, from 0; None when it does not exist yet."""
        delta = self._tables.open(table)
        return None if delta is None else delta.version()

    def versions(self) -> dict[str, int | None]:
        """Return every table's `version`; equal before and after means that nothing changed."""
        return {name: self.version(table) for name, table in TABLES.items()}

    def last_transaction(self, table: Table, app_id: str) -> int | None:
        """Return the number that an application last recorded in a table; None when never."""
        delta = self._tables.open(table)
        return None if delta is None else delta.transaction_version(app_id)

    def set_transactions(
        self, table: Table, transactions: Transactions, *, origin: str = ""
    ) -> None:
        """Record numbers without rows, lower ones too: what follows is then no longer a replay.

        Args:
            table: of `catalog.lake.tables`.
            transactions: see the class.
            origin: who records them or why, kept with the commit.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """
        empty = _landed(table.empty(), table)
        self._until_committed(
            table, lambda delta: append_rows(delta, empty, table, transactions, origin)
        )

    def upsert_items(
        self,
        rows: pl.DataFrame,
        *,
        transactions: Transactions = NO_TRANSACTIONS,
        origin: str = "",
        landed_at: datetime | None = None,
    ) -> UpsertCounts:
        """Upsert items: the newest record of each is stored. Return what became of them.

        The newer `updated_at` wins, so the order and number of deliveries do not matter; ties and
        `created_at` are settled in `catalog.lake.upsert`. A tombstone is stored even for an item
        never seen, so that an older insert that is still under way stays dead. What describes an
        item is kept of every record in `item_versions`, for those who ask how it was; written
        first, so that a crash between the two loses nothing.

        Args:
            rows: in the columns of `items`; one item may occur many times.
            transactions: see the class.
            origin: who sent them, kept with the commit.
            landed_at: of the landing that they are part of, with a time zone; now when None.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """
        self.insert_new(ITEM_VERSIONS, versions_of(rows, landed_at or datetime.now(UTC)))
        return self._upsert(ITEMS, rows, plan_upsert, transactions, origin)

    def upsert_events(
        self,
        rows: pl.DataFrame,
        *,
        transactions: Transactions = NO_TRANSACTIONS,
        landed_at: datetime | None = None,
    ) -> UpsertCounts:
        """Upsert events: the newest form of each is stored. Return what became of them.

        An event that comes again changes nothing. Should its id come with another content, the
        later `ts` wins, whatever order they come in; ties are settled in `catalog.lake.upsert`. A
        form that somebody dropped or corrected (`catalog.lake.event_corrections`) stays out.

        Args:
            rows: in the columns of `events`; one event may occur many times.
            transactions: see the class.
            landed_at: see `upsert_items`. An event that comes again keeps its own; one that comes
                in another form takes the new one.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """
        corrected = self.read(EVENT_CORRECTIONS, EVENTS.schema.names())
        if len(corrected):
            rows = rows.join(
                corrected, on=corrected.columns, how="anti", nulls_equal=True, maintain_order="left"
            )
        return self._upsert(EVENTS, rows, plan_events, transactions, landed_at=landed_at)

    def insert_new(self, table: Table, rows: pl.DataFrame) -> int:
        """Insert the rows whose key is not stored yet; return how many.

        Of several rows with one key, the first is taken. Only the key columns of the table are
        read, so that vectors and images cost nothing here.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """
        rows = rows.unique(table.key, keep="first", maintain_order=True)
        if rows.is_empty():
            return 0

        def new(stored: pl.LazyFrame) -> pl.DataFrame:
            keys = stored.select(table.key).join(rows.lazy(), on=table.key, how="semi").collect()
            return rows.join(keys, on=table.key, how="anti", maintain_order="left")

        return len(self.insert_planned(table, new))

    def insert_planned(
        self, table: Table, plan: Callable[[pl.LazyFrame], pl.DataFrame]
    ) -> pl.DataFrame:
        """Insert what `plan` makes of the stored rows, by one commit; return what it made.

        It is asked again when another writer came first, so its answer may rest on what it saw.

        Args:
            table: of `catalog.lake.tables`.
            plan: given a scan of the table, returns rows whose keys are not stored.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """

        def attempt(delta: DeltaTable) -> pl.DataFrame:
            rows = plan(self._tables.scan(delta, table))
            append_rows(delta, _landed(rows, table), table)
            return rows

        return self._until_committed(table, attempt)

    def put_dead_letters(self, rows: pl.DataFrame) -> int:
        """Write dead letters that are new, or whose message or reason changed; return how many.

        A file's line that was wrong, was edited, and is still wrong keeps its position; the letter
        then holds the line as it is now.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """
        key = DEAD_LETTERS.key
        same = (*key, "value", "reason")
        rows = rows.unique(key, keep="last", maintain_order=True)
        if rows.is_empty():
            return 0

        def attempt(delta: DeltaTable) -> int:
            stored = self._stored(delta, DEAD_LETTERS, rows, columns=same)
            changed = rows.join(stored, on=same, how="anti", nulls_equal=True)
            if changed.join(stored, on=key, how="semi").is_empty():
                append_rows(delta, changed, DEAD_LETTERS)
            else:
                merge_rows(delta, changed, DEAD_LETTERS)
            return changed.height

        return self._until_committed(DEAD_LETTERS, attempt)

    def delete(self, table: Table, rows: pl.DataFrame) -> int:
        """Delete the rows that equal one of `rows` in every column it has; return how many.

        Columns beyond the key guard what was written again since `rows` were read.

        Args:
            table: of `catalog.lake.tables`.
            rows: at least the key columns of the table.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """
        if rows.is_empty() or self._tables.open(table) is None:
            return 0
        rows = rows.unique()

        def attempt(delta: DeltaTable) -> int:
            stored = self._tables.scan(delta, table).select(rows.columns)
            doomed = stored.join(rows.lazy(), on=rows.columns, how="semi", nulls_equal=True)
            if not (num_doomed := doomed.select(pl.len()).collect().item()):
                return 0
            delete_equal(delta, rows, table)
            return num_doomed

        return self._until_committed(table, attempt)

    def replace(self, table: Table, rows: pl.DataFrame) -> None:
        """Put rows in place of all that have their keys, in commits of 500 keys.

        They landed when those did.

        Args:
            table: of `catalog.lake.tables`.
            rows: in the table's columns, each key once.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """
        for part in rows.iter_slices(REPLACED_ROWS):
            self._until_committed(table, partial(self._replace, table=table, rows=part))

    def rewrite(self, table: Table, change: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
        """Write what `change` makes of a small table's rows, by one commit; return what it wrote.

        It is asked again when another writer came first, so its answer may rest on what it saw.

        Args:
            table: of `catalog.lake.tables`; read whole.
            change: given all rows, returns those to put in place of the ones that have their keys.

        Raises:
            CommitFailedError: others kept committing first, 20 times in a row.
        """

        def attempt(delta: DeltaTable) -> pl.DataFrame:
            rows = change(self._tables.scan(delta, table).collect())
            if len(rows):
                replace_keys(delta, rows, table)
            return rows

        return self._until_committed(table, attempt)

    def _replace(self, delta: DeltaTable, *, table: Table, rows: pl.DataFrame) -> None:
        if table.keeps_landings:
            stored = self._tables.scan_stored(delta, table).select(*table.key, LANDED_AT)
            first = stored.group_by(table.key).agg(pl.col(LANDED_AT).min())
            rows = rows.join(first.collect(), on=table.key, how="left", maintain_order="left")
        replace_keys(delta, rows, table)

    def _upsert(
        self,
        table: Table,
        rows: pl.DataFrame,
        plan: Callable[[pl.DataFrame, pl.DataFrame], Upsert],
        transactions: Transactions,
        origin: str = "",
        landed_at: datetime | None = None,
    ) -> UpsertCounts:
        if rows.is_empty() and not transactions:
            return UpsertCounts()

        def attempt(delta: DeltaTable) -> UpsertCounts:
            new = ahead(delta, transactions)
            if transactions and not new:
                return UpsertCounts()
            upsert = plan(rows, self._stored_rows(delta, table, rows))
            written = _landed(upsert.rows, table, landed_at)
            if upsert.replaces:
                merge_rows(delta, written, table, new, origin)
            else:
                append_rows(delta, written, table, new, origin)
            return upsert.counts

        return self._until_committed(table, attempt)

    def _stored_rows(self, delta: DeltaTable, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        [key] = table.key
        known = self._stored(delta, table, rows, columns=[key])[key]
        if known.is_empty():  # most batches of a first load: texts need not be read at all
            return table.empty()
        return self._tables.scan(delta, table).filter(pl.col(key).is_in(known.implode())).collect()

    def _stored(
        self, delta: DeltaTable, table: Table, rows: pl.DataFrame, *, columns: Sequence[str]
    ) -> pl.DataFrame:
        keys = rows.lazy().select(table.key)
        stored = self._tables.scan(delta, table).select(columns)
        return stored.join(keys, on=table.key, how="semi").collect()

    def _until_committed(self, table: Table, attempt: Callable[[DeltaTable], T]) -> T:
        return attempts(table)(lambda: attempt(self._tables.open_or_create(table)))


def _landed(rows: pl.DataFrame, table: Table, at: datetime | None = None) -> pl.DataFrame:
    """Note on the rows of a table that keeps it when they landed: now when None."""
    if not table.keeps_landings:
        return rows
    return rows.with_columns(pl.lit(at or datetime.now(UTC), TIME).alias(LANDED_AT))
