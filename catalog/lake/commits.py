"""Commits that put rows into a Delta table, and the numbers that applications record with them.

Like every write of `catalog.lake.lake` they fail when somebody has committed since the table was
opened: what to write was decided on what it held then.
"""

import logging
from collections.abc import Mapping
from types import MappingProxyType

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from catalog.lake.row_groups import row_groups
from catalog.lake.tables import Table

MAX_ATTEMPTS = 20

Transactions = Mapping[str, int]
"""Applications' names and their own growing numbers, recorded in the commit they cause."""

NO_TRANSACTIONS: Transactions = MappingProxyType({})

logger = logging.getLogger(__name__)


def append_rows(
    delta: DeltaTable,
    rows: pl.DataFrame,
    table: Table,
    transactions: Transactions = NO_TRANSACTIONS,
    origin: str = "",
) -> None:
    """Append rows by one commit; without rows or transactions there is none.

    Args:
        delta: where the table is stored.
        rows: in the columns of its files.
        table: of `catalog.lake.tables`.
        transactions: recorded in the same commit.
        origin: who sent the rows, kept with the commit.
    """
    if rows.is_empty() and not transactions:
        return
    write_deltalake(
        delta,
        rows,
        mode="append",
        commit_properties=_commit_properties(transactions, origin),
        writer_properties=row_groups(table),
    )


def merge_rows(
    delta: DeltaTable,
    rows: pl.DataFrame,
    table: Table,
    transactions: Transactions = NO_TRANSACTIONS,
    origin: str = "",
) -> None:
    """Put rows in place of those with their keys, and append the others, by one commit.

    Args: as of `append_rows`.
    """
    on = " AND ".join(f'stored."{name}" = new."{name}"' for name in table.key)
    merger = delta.merge(
        rows,
        on,
        source_alias="new",
        target_alias="stored",
        commit_properties=_commit_properties(transactions, origin),
        writer_properties=row_groups(table),
    )
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def ahead(delta: DeltaTable, transactions: Transactions) -> Transactions:
    """Return those not recorded yet; a late writer never brings a number down."""
    recorded = {name: delta.transaction_version(name) for name in transactions}
    return {
        name: number
        for name, number in transactions.items()
        if recorded[name] is None or recorded[name] < number
    }


def attempts(table: Table) -> Retrying:
    """Return what decides and commits again while other writers come first, 20 times in all."""

    def log(state: RetryCallState) -> None:
        number = state.attempt_number
        logger.info("table=%s attempt=%d another writer was first", table.name, number)

    return Retrying(
        stop=stop_after_attempt(MAX_ATTEMPTS),
        retry=retry_if_exception_type(CommitFailedError),
        before_sleep=log,
        reraise=True,
    )


def _commit_properties(transactions: Transactions, origin: str) -> CommitProperties:
    return CommitProperties(
        custom_metadata={"origin": origin} if origin else None,
        max_commit_retries=0,  # a retry inside deltalake would commit what was decided too early
        app_transactions=[Transaction(name, number) for name, number in transactions.items()],
    )
