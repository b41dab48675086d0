"""Keys that a table holds more than once, which Ponder's own writers never cause."""

import polars as pl

from catalog.lake.key_set import repeated_keys
from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS, Table
from catalog.lake.upsert import plan_upsert


def duplicated_keys(rows: pl.LazyFrame, table: Table) -> pl.DataFrame:
    """Return the keys that occur more than once, each once.

    Args:
        rows: of the table.
        table: names the key columns.
    """
    return repeated_keys(rows, table.key)


def merge_duplicates(lake: Lake, table: Table) -> int:
    """Merge rows that share a key; return how many keys were stored more than once.

    Of an item the newest record stays, as if all had been landed; of anything else one of the rows,
    which differ by chance only.
    """
    keys = duplicated_keys(lake.scan(table), table)
    stored = lake.scan(table).join(keys.lazy(), on=table.key, how="semi").collect()
    if table is ITEMS:
        kept = plan_upsert(stored, ITEMS.empty()).rows
    else:
        kept = stored.unique(table.key, keep="first", maintain_order=True)
    lake.replace(table, kept)
    return keys.height
