"""Tables that an earlier release kept under another name, brought to the name they have now.

In a local folder the table's own folder is renamed, which is one step and keeps its history. An
object store cannot rename: there the rows are copied by the one commit that creates the table, and
the old one stays. Either way a kill leaves the old name or the new one, and of two processes that
migrate at once one does it and the other finds it done. Processes of the earlier release must have
ended: what they write under the old name later is not looked for.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

logger = logging.getLogger(__name__)


def migrate(old_uri: str, new_uri: str, *, storage_options: Mapping[str, str]) -> None:
    """Bring a table to its new address if it is at the old one; nothing happens if it is at none.

    Args:
        old_uri: where an earlier release kept it.
        new_uri: where it belongs; nothing was found there.
        storage_options: as of `catalog.lake.lake.Lake`.
    """
    if (folder := local_path(old_uri)) is not None:
        # Not asked of deltalake, which fails where the folder is renamed while it looks.
        if (folder / "_delta_log").is_dir():
            rename_table(folder, local_path(new_uri) or Path(new_uri))
    elif DeltaTable.is_deltatable(old_uri, dict(storage_options)):
        copy_table(old_uri, new_uri, storage_options=storage_options)


def rename_table(old: Path, new: Path) -> None:
    """Rename the folder of a table, unless another process has just done so."""
    try:
        old.rename(new)
    except FileNotFoundError:
        return
    logger.info("table=%s renamed from %s", new.name, old.name)


def copy_table(old_uri: str, new_uri: str, *, storage_options: Mapping[str, str]) -> None:
    """Create a table with the rows of another one, unless another process has just done so.

    Raises:
        deltalake.exceptions.DeltaError: the store refuses.
    """
    options = dict(storage_options)
    old = DeltaTable(old_uri, storage_options=options)
    rows = pl.scan_delta(old, storage_options=options).collect()
    try:
        write_deltalake(
            new_uri,
            rows,
            mode="error",
            configuration=old.metadata().configuration,
            storage_options=options,
            # Retried, the commit that creates would become one that appends to the other's rows.
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except DeltaError:
        if not DeltaTable.is_deltatable(new_uri, options):
            raise
        return
    logger.warning("%d rows copied to %s; %s can be removed", rows.height, new_uri, old_uri)


def local_path(uri: str) -> Path | None:
    """Return the folder that an address names; None when it is in an object store.

    >>> local_path("file:///data/my%20lake"), local_path("s3://bucket/lake")
    (PosixPath('/data/my lake'), None)
    """
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
