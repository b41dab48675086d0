"""Commits that take rows out of a Delta table.

Like every write of `catalog.lake.lake` they fail when somebody has committed since the table was
opened: what to take out was decided on what it held then.
"""

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake

from catalog.lake.row_groups import row_groups
from catalog.lake.tables import Table


def delete_equal(delta: DeltaTable, rows: pl.DataFrame, table: Table) -> None:
    """Delete the stored rows that equal one of `rows` in every column it has; null equals null."""
    on = " AND ".join(
        f'(stored."{name}" IS NOT DISTINCT FROM gone."{name}")' for name in rows.columns
    )
    merger = delta.merge(
        rows,
        on,
        source_alias="gone",
        target_alias="stored",
        commit_properties=CommitProperties(max_commit_retries=0),
        writer_properties=row_groups(table),
    )
    merger.when_matched_delete().execute()


def replace_keys(delta: DeltaTable, rows: pl.DataFrame, table: Table) -> None:
    """Put rows in place of all that have their keys, by one commit.

    Args:
        delta: where the table is stored.
        rows: each key once; some hundreds, for the commit names every key.
        table: of `catalog.lake.tables`, with a key of strings or integers.
    """
    write_deltalake(
        delta,
        rows,
        mode="overwrite",
        predicate=_has_key_of(rows.select(table.key)),
        commit_properties=CommitProperties(max_commit_retries=0),
        writer_properties=row_groups(table),
    )


def _has_key_of(keys: pl.DataFrame) -> str:
    return " OR ".join(
        "(" + " AND ".join(f'"{name}" = {_literal(value)}' for name, value in key.items()) + ")"
        for key in keys.iter_rows(named=True)
    )


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
