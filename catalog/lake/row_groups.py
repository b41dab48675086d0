"""How the rows of a table are grouped within its files."""

from deltalake import ColumnProperties, WriterProperties

from catalog.lake.tables import Table


def row_groups(table: Table) -> WriterProperties | None:
    """Return what makes a writer keep to a table's `group_rows`; None leaves it to the writer.

    A dictionary of all the numbers of some vectors is longer than the vectors, and most of the time
    that writing takes. Nested columns are out of reach by name, so they are what is not named.
    """
    if table.group_rows is None:
        return None
    flat = [name for name, dtype in table.stored_schema.items() if not dtype.is_nested()]
    return WriterProperties(
        max_row_group_size=table.group_rows,
        compression="SNAPPY",  # as when nothing is said
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties=dict.fromkeys(flat, ColumnProperties(dictionary_enabled=True)),
    )
