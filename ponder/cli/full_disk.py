"""What to say when a disk is full: which folder, how much is left, and that nothing is lost."""

import errno
import shutil
from pathlib import Path

from ponder.settings import Settings

FEW_BYTES = 64 << 20
"""A file system with less is taken for the one that is full."""


def says_full(error: BaseException) -> bool:
    """Return whether an error, or one that it came from, is that of a full disk.

    Libraries that write by themselves (deltalake, pymilvus) keep nothing of it but the words.
    """
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def advice(settings: Settings | None) -> str:
    """Return what a person should know, in one line; of no deployment, what holds for any."""
    folders = _folders(settings) if settings else [Path.cwd()]
    full = {folder: shutil.disk_usage(folder).free for folder in folders}
    full = {folder: free for folder, free in full.items() if free < FEW_BYTES} or full
    where = ", ".join(f"{folder} ({free / 2**20:.1f} MiB free)" for folder, free in full.items())
    return (
        f"the disk is full: {where}. What was committed before is whole, and the rest was not "
        "written; free some room there, or set PONDER_HOME or PONDER_LAKE to another disk, and "
        "run the command again: it goes on where it was"
    )


def _folders(settings: Settings) -> list[Path]:
    """Return the local folders that a command writes to, as far as they are there."""
    places = [Path(settings.home)]
    if "://" not in settings.lake_uri:
        places.append(Path(settings.lake_uri))
    there = [next(each for each in (place, *place.parents) if each.exists()) for place in places]
    return list(dict.fromkeys(there))
