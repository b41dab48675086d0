"""Whether the folders of a deployment can be written to, and have room."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from catalog.lake.migration import local_path
from ponder.doctor.problem import Problem, said
from ponder.settings import Settings

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


def free_bytes(folder: Path) -> int:
    """Return what the file system of a folder has free."""
    return shutil.disk_usage(folder).free


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


def local_folders(settings: Settings) -> dict[str, Path]:
    """Return the folders that are on this machine, by the setting that names them."""
    lake = local_path(settings.lake) if settings.lake else None  # else it is in the home
    return {"home": settings.home, **({} if lake is None else {"lake": lake})}


def existing_part(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    absolute = path.absolute()
    return next(each for each in (absolute, *absolute.parents) if each.exists())
