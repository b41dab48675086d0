"""Files in an object store that several machines share, and a copy of them on each.

A store has no rename and no folders, and what works with artefacts needs both. So each machine
works in a folder of its own: `pull` brings it in step with the store before something is read,
`push` the store with it after something was written. Of a set of files those that say that the
others are there (manifests, notes, pointers) are written last, here and there, so that no reader
finds one before what it names. A file that both sides changed is the store's.
"""

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow.fs import FileSelector, FileSystem, FileType, S3FileSystem, SubTreeFileSystem

from catalog.atomic_file import write_atomically
from catalog.images.object_store import s3_arguments

LAST = ("manifest.json", "done.json", "digest", "champion")
"""Names of the files that say that others are there; so do hidden ones, the notes of an export, and
the commits of a lake, one after the other."""

MAX_LISTINGS = 5
"""Looks at a store that keeps changing while it is copied."""

MAX_COPIES = 16
"""Small files that are copied side by side: each waits for the store, and sets have thousands."""

LARGE_BYTES = 64 * 2**20
"""Files above this are copied one by one, for each is held in memory."""

RECORD = ".synced.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells that a file has changed."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class _Synced:
    """How a file was on both sides when they last agreed."""

    there: _Stamp
    here: _Stamp


class ArtifactStore:
    """A prefix of an object store, and its copy in a folder of this machine."""

    def __init__(self, uri: str, options: Mapping[str, str], folder: Path) -> None:
        """Connect to nothing yet.

        Args:
            uri: `s3://bucket/prefix`, or any address that pyarrow's file systems take.
            options: of the store, in deltalake's names; for `s3:` alone.
            folder: the copy; comes into being with the first file.
        """
        self._files = open_files(uri, options)
        self._needs_folders = not uri.startswith("s3://")
        self._folder = folder

    def pull(self, name: str) -> int:
        """Bring a folder of the copy in step with the store; return how many files changed.

        What was changed here since and not there stays as it is, for a push to come.
        """
        changed, listed = 0, self._listed(name)
        for _ in range(MAX_LISTINGS):
            changed += self._pull(name, listed)
            before, listed = listed, self._listed(name)
            if before == listed:
                break
        return changed

    def push(self, name: str) -> int:
        """Bring the store in step with a folder of the copy; return how many files changed.

        What somebody else put there stays; what was there and is gone from the copy goes.
        """
        record, here = self._record(name), self._here(name)
        changed = [
            path for path, stamp in here.items() if path not in record or record[path].here != stamp
        ]

        def copy(path: str) -> None:
            self._write_there(f"{name}/{path}", (self._folder / name / path).read_bytes())

        _copy_in_order({path: here[path].size for path in changed}, copy)
        gone = [path for path in record if path not in here]
        listed = self._listed(name) if changed or gone else {}
        for path in gone:
            if path in listed:
                self._files.delete_file(f"{name}/{path}")
            del record[path]
        for path in changed:
            record[path] = _Synced(there=listed[path], here=here[path])
        if changed or gone:
            self._keep(name, record)
        return len(changed) + len(gone)

    def _pull(self, name: str, listed: Mapping[str, _Stamp]) -> int:
        record, here = self._record(name), self._here(name)
        wanted = [
            path
            for path, stamp in listed.items()
            if path not in record or record[path].there != stamp or path not in here
        ]

        def copy(path: str) -> None:
            target = self._folder / name / path
            with self._files.open_input_stream(f"{name}/{path}") as source:
                write_atomically(target, source.read())
            record[path] = _Synced(there=listed[path], here=_stamp_here(target))

        _copy_in_order({path: listed[path].size for path in wanted}, copy)
        gone = [path for path in record if path not in listed]
        for path in gone:
            if here.get(path) == record[path].here:
                (self._folder / name / path).unlink()
            del record[path]
        if wanted or gone:
            self._keep(name, record)
        return len(wanted) + len(gone)

    def _listed(self, name: str) -> dict[str, _Stamp]:
        selector = FileSelector(name, recursive=True, allow_not_found=True)
        return {
            file.path.removeprefix(f"{name}/"): _Stamp(file.size, file.mtime_ns or 0)
            for file in self._files.get_file_info(selector)
            if file.type == FileType.File and not _is_unfinished(file.path)
        }

    def _here(self, name: str) -> dict[str, _Stamp]:
        folder = self._folder / name
        return {
            path.relative_to(folder).as_posix(): _stamp_here(path)
            for path in folder.rglob("*")
            if path.is_file() and not _is_unfinished(path.relative_to(folder).as_posix())
        }

    def _write_there(self, path: str, content: bytes) -> None:
        if self._needs_folders and "/" in path:
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
        with self._files.open_output_stream(path) as target:
            target.write(content)

    def _record(self, name: str) -> dict[str, _Synced]:
        path = self._folder / name / RECORD
        if not path.exists():
            return {}
        kept: dict[str, Any] = json.loads(path.read_text())
        return {
            file: _Synced(there=_Stamp(*there), here=_Stamp(*here))
            for file, (there, here) in kept.items()
        }

    def _keep(self, name: str, record: Mapping[str, _Synced]) -> None:
        kept = {
            file: [[each.there.size, each.there.mtime_ns], [each.here.size, each.here.mtime_ns]]
            for file, each in record.items()
        }
        write_atomically(self._folder / name / RECORD, json.dumps(kept))


def open_files(uri: str, options: Mapping[str, str]) -> FileSystem:
    """Return the file system below an address, whose paths begin there."""
    if uri.startswith("s3://"):
        # A small file is one request then, and not three.
        store: FileSystem = S3FileSystem(**s3_arguments(options), allow_delayed_open=True)
        return SubTreeFileSystem(uri.removeprefix("s3://").rstrip("/"), store)
    store, path = FileSystem.from_uri(uri)
    return SubTreeFileSystem(path, store)


def _stamp_here(path: Path) -> _Stamp:
    known = path.stat()
    return _Stamp(known.st_size, known.st_mtime_ns)


def _copy_in_order(sizes: Mapping[str, int], copy: Callable[[str], None]) -> None:
    """Copy files, and after them those that say that they are there, one by one.

    Args:
        sizes: bytes of each file, by its path.
        copy: copies one.
    """
    small = [path for path, size in sizes.items() if size <= LARGE_BYTES and not _order(path)[0]]
    with ThreadPoolExecutor(MAX_COPIES) as copies:
        started = [copies.submit(copy, path) for path in small]
        try:
            for each in started:
                each.result()
        finally:  # one that failed ends it all
            copies.shutdown(cancel_futures=True)
    for path in sorted(sizes.keys() - set(small), key=_order):
        copy(path)


def _order(path: str) -> tuple[int, str]:
    """Return when a file is copied: what says that others are there comes after them."""
    folder, _, name = path.rpartition("/")
    is_note = name.startswith(".") or folder.endswith("_delta_log")
    return (2 if name in LAST else int(is_note)), path


def _is_unfinished(path: str) -> bool:
    """Whether a file is under way, or below a folder that is, or is our own record."""
    *folders, name = path.split("/")
    return name.endswith(".tmp") or name == RECORD or any(each.startswith(".") for each in folders)
