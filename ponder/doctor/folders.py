"""Whether the folders of a deployment can be written to, and have room."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ponder.doctor.problem import Problem, said
from ponder.settings import Settings
from ponder.wiring.folders import existing_part, free_bytes, local_folders

FULL_BYTES = 64 << 20
LOW_BYTES = 2 << 30
"""With less a night may not end: a compaction writes a table anew before the old one goes."""


def check_folders(settings: Settings) -> Iterator[Problem]:
    """Yield folders that cannot be made or written to."""
    for name, folder in local_folders(settings).items():
        try:
            with tempfile.TemporaryFile(dir=existing_part(folder)):
                pass
        except OSError as error:
            yield Problem(
                check="folders",
                what=f"{name} must be a folder that can be written to, got {folder}: {said(error)}",
                remedy=f"give the user {os.getuid()} the folder, or set PONDER_{name.upper()} "
                "to another one",
            )


def check_disk(
    settings: Settings, free_bytes: Callable[[Path], int] = free_bytes
) -> Iterator[Problem]:
    """Yield file systems that are full, or nearly so.

    Args:
        settings: the deployment.
        free_bytes: of the file system of a folder.
    """
    for name, folder in local_folders(settings).items():
        if (free := free_bytes(existing_part(folder))) < LOW_BYTES:
            yield Problem(
                check="disk",
                what=f"{name} at {folder} must have {LOW_BYTES / 2**30:g} GiB free, "
                f"got {free / 2**30:.2f}",
                remedy="free some room, `ponder lake vacuum`, or move it to another disk",
                is_fault=free < FULL_BYTES,
            )
