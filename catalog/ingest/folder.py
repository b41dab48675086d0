"""A data folder of JSON Lines and Parquet files as records.

    items*.jsonl   items*.parquet   items/**/*.jsonl   items/**/*.parquet
    events*.jsonl  events*.parquet  events/**/*.jsonl  events/**/*.parquet

The same holds below folders named like `day=2026-03-01`, and for folders that are named like such a
file, which is how Spark writes one. Other files, such as queries.jsonl or images that items name by
path, are left alone, and so is what begins with `_` or `.`. A JSON line is one record, taken as
bytes and parsed when it is checked. A Parquet row is one record too, whose column `image` holds the
image itself; see `catalog.ingest.parquet_rows`. A file that cannot be read, or not to its end, is a
record that is refused by its name; the others land.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from catalog.images.image import data_uri
from catalog.ingest.parquet_rows import parquet_rows
from catalog.records import RawRecord
from catalog.text_lines import text_lines

SUFFIXES = (".jsonl", ".parquet")

OTHER_SUFFIXES = (".json", ".ndjson", ".csv", ".tsv", ".gz", ".bz2", ".zst", ".avro", ".orc")
"""Of files that look like records in a form that is not read, which is worth a warning."""

NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"

FOLDER_FIELDS = (
    *("item_id", "title", "text", "category"),
    *("event_id", "request_id", "user_id", "action"),
)
"""Text fields that a folder's name may give: Spark takes them out of the rows below it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """The records of a data folder, file by file in order of their paths."""

    base_dir: Path

    is_snapshot: bool = False
    """Whether its items are the whole catalogue; otherwise they are changes to it, and an item goes
    by a tombstone. Every record carries its own `updated_at` either way."""

    def items(self) -> Iterator[RawRecord]:
        """Yield the records of the `items` files, not checked yet."""
        return self._records("items")

    def events(self) -> Iterator[RawRecord]:
        """Yield the records of the `events` files, not checked yet."""
        return self._records("events")

    def _records(self, kind: str) -> Iterator[RawRecord]:
        files = _files(self.base_dir, kind)
        _warn_of_others(file for file in files if file.suffix in OTHER_SUFFIXES)
        for file in files:
            if file.suffix in SUFFIXES:
                yield from _file_records(file, topic=file.relative_to(self.base_dir).as_posix())


def has_records(folder: Path) -> bool:
    """Return whether a folder holds at least one file of items or events."""
    files = (*_files(folder, "items"), *_files(folder, "events"))
    return any(file.suffix in SUFFIXES for file in files)


def _files(folder: Path, kind: str) -> list[Path]:
    """Return the files that lie where records of a kind do, whatever form they have."""
    return sorted(
        file
        for file in _placed_files(folder, kind)
        if not any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)
    )


def _placed_files(folder: Path, kind: str) -> Iterator[Path]:
    for entry in folder.iterdir():
        if not entry.is_dir():
            if entry.name.startswith(kind) and entry.is_file():
                yield entry
        elif "=" in entry.name:
            yield from _placed_files(entry, kind)
        elif entry.name == kind or (entry.name.startswith(kind) and entry.suffix in SUFFIXES):
            yield from (file for file in entry.rglob("*") if file.is_file())


def _warn_of_others(files: Iterator[Path]) -> None:
    names = [file.name for file in files]
    if names:
        logger.warning(
            "files=%d are not read, for records are %s: first %s",
            len(names),
            " or ".join(SUFFIXES),
            names[0],
        )


def _file_records(file: Path, *, topic: str) -> Iterator[RawRecord]:
    given = _folder_fields(topic)
    read = _json_lines if file.suffix == ".jsonl" else _parquet_records
    after = 0
    try:
        for offset, value in read(file, given):
            after = offset + 1
            yield RawRecord(topic=topic, partition=0, offset=offset, value=value)
    except Exception as error:  # parsers of hostile bytes raise whatever they stumble over
        defect = f"the file cannot be read from row {after} on: {error}"
        logger.warning("kept as a dead letter, for %s file=%s", defect, topic)
        yield RawRecord(topic=topic, partition=0, offset=after, value=b"", defect=defect)


def _folder_fields(topic: str) -> dict[str, str]:
    """Return what the folders of a path say of every record below them.

    >>> _folder_fields("events/day=2026-03-01/action=click/part-0.parquet")
    {'action': 'click'}
    """
    pairs = (part.partition("=") for part in topic.split("/")[:-1])
    return {
        name: unquote(value)
        for name, _, value in pairs
        if name in FOLDER_FIELDS and value != NO_PARTITION
    }


def _json_lines(file: Path, given: Mapping[str, str]) -> Iterator[tuple[int, bytes]]:
    for number, line in text_lines(file):
        yield number, _completed(line, given) if given else line


def _completed(line: bytes, given: Mapping[str, str]) -> bytes:
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return line  # refused where it is checked
    missing = {name: value for name, value in given.items() if name not in fields}
    return msgspec.json.encode(missing | fields) if missing else line


def _parquet_records(file: Path, given: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in parquet_rows(file):
        yield number, _with_media({**given, **row})


def _with_media(record: dict[str, Any]) -> dict[str, Any]:
    """Put the images, the clip and the sound of a record inline that are columns of their own."""
    for column in ("image", "video", "audio"):
        uri, is_inline = _uri_of(record.pop(column, None))
        if is_inline:
            record[f"{column}_uri"] = uri
        elif uri is not None:
            record.setdefault(f"{column}_uri", uri)
    images = record.pop("images", None)
    if isinstance(images, list):
        uris = [uri for uri, _ in map(_uri_of, images) if uri is not None]
        record.setdefault("image_uris", uris)
    return record


def _uri_of(value: Any) -> tuple[str | None, bool]:
    """Return the address of a value, and whether it holds the bytes themselves.

    A value is bytes, a path, or bytes and path as Hugging Face keeps them.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return data_uri(value), True
    return (value, False) if isinstance(value, str) else (None, False)
