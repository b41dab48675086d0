"""A data folder of JSON Lines and Parquet files as records.

    items*.jsonl   items*.parquet   items/*.jsonl   items/*.parquet
    events*.jsonl  events*.parquet  events/*.jsonl  events/*.parquet

Other files, such as queries.jsonl or images that items name by path, are left alone. A JSON line
is one record, taken as bytes and parsed when it is checked. A Parquet row is one record too; a null
counts as absent, and a binary column `image` holds the image itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from catalog.images.image import data_uri
from catalog.records import RawRecord
from catalog.text_lines import text_lines

SLICE_ROWS = 2_000
"""Parquet rows held at once; with images in them a whole file may not fit."""


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
        for file in _files(self.base_dir, kind):
            topic = file.relative_to(self.base_dir).as_posix()
            read = text_lines if file.suffix == ".jsonl" else _parquet_rows
            for offset, value in read(file):
                yield RawRecord(topic=topic, partition=0, offset=offset, value=value)


def has_records(folder: Path) -> bool:
    """Return whether a folder holds at least one file of items or events."""
    return bool(_files(folder, "items") or _files(folder, "events"))


def _files(folder: Path, kind: str) -> list[Path]:
    patterns = [
        pattern
        for suffix in ("jsonl", "parquet")
        for pattern in (f"{kind}*.{suffix}", f"{kind}/*.{suffix}")
    ]
    return sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file())


def _parquet_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    frame = pl.scan_parquet(file)
    num_rows = frame.select(pl.len()).collect().item()
    for start in range(0, num_rows, SLICE_ROWS):
        rows = frame.slice(start, SLICE_ROWS).collect()
        for number, row in enumerate(rows.iter_rows(named=True), start):
            yield number, _record_of(row)


def _record_of(row: dict[str, Any]) -> dict[str, Any]:
    record = {name: value for name, value in row.items() if value is not None}
    if isinstance(attributes := record.get("attributes"), dict):
        record["attributes"] = {k: v for k, v in attributes.items() if v is not None}
    if isinstance(image := record.pop("image", None), bytes):
        record["image_uri"] = data_uri(image)
    return record
