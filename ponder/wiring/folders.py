"""The folders of a deployment that are on this machine, and what their file systems have free."""

import shutil
from pathlib import Path

from catalog.lake.migration import local_path
from ponder.settings import Settings


def free_bytes(folder: Path) -> int:
    """Return what the file system of a folder has free."""
    return shutil.disk_usage(folder).free


def local_folders(settings: Settings) -> dict[str, Path]:
    """Return the folders that are on this machine, by the setting that names them."""
    lake = local_path(settings.lake) if settings.lake else None  # else it is in the home
    return {"home": settings.home, **({} if lake is None else {"lake": lake})}


def existing_part(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    absolute = path.absolute()
    return next(each for each in (absolute, *absolute.parents) if each.exists())
