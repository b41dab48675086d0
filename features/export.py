"""Feature tables as Parquet, one folder per day, with a manifest that says what they hold.

The manifest is the table: it names its files, whose names carry a digest of their content, and it
is put in place by one rename once all of them are there. A reader sees the old export or the new
one, a crash leaves the old one, and a day that did not change is not written again.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from catalog.atomic_file import write_atomically
from features.centred_embeddings import Centring
from features.schema import Feature, schema_hash
from features.table import FeatureTable

MANIFEST = "manifest.json"


def write_export(table: FeatureTable, folder: Path) -> dict[str, Any]:
    """Write the table below `folder`, in place of what is there, and return its manifest.

    Args:
        table: what `features.table.build_features` made.
        folder: gets `date=YYYY-MM-DD/part-<digest>.parquet` per day (UTC) and `manifest.json`.

    Raises:
        ValueError: the table has no rows; an empty export would hide a broken source.
    """
    if table.frame.is_empty():
        raise ValueError("an export must have rows, got none; look at the impressions it is of")
    partitions = [
        _write_day(day, rows, folder)
        for (day,), rows in table.frame.group_by(
            pl.col("ts").dt.date().alias("date"), maintain_order=True
        )
    ]
    manifest = _manifest(table, sorted(partitions, key=lambda part: part["path"]))
    text = json.dumps(manifest, indent=1, default=str)
    path = folder / MANIFEST
    if not path.exists() or path.read_text() != text:
        write_atomically(path, text)
    _remove_strays(folder, {part["path"] for part in partitions})
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of an export.

    Raises:
        ValueError: there is none, so nothing was exported to the end there; or it was written
            before exports kept their centring under that name.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ValueError(f"an export must have a {MANIFEST}, got none in {folder}; export first")
    manifest = json.loads(path.read_text())
    if "centring" not in manifest:
        raise ValueError(f"{path} must hold a centring, got one of an older code; export again")
    return manifest


def data_hash(manifest: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that change with any row of the export."""
    digests = " ".join(part["digest"] for part in manifest["partitions"])
    return hashlib.blake2b(digests.encode(), digest_size=8).hexdigest()


def read_export(folder: Path) -> FeatureTable:
    """Read the table that was written to `folder`, rows by day and then as they came.

    Raises:
        ValueError: no manifest, or the files are not the ones it names.
    """
    manifest = read_manifest(folder)
    features = tuple(Feature(**row) for row in manifest["features"])
    columns = manifest["columns"]
    parts = [_read_part(folder, part, columns) for part in manifest["partitions"]]
    if schema_hash(features) != manifest["schema_hash"]:
        raise ValueError(
            f"{folder / MANIFEST} must hold the hash of its own features, got "
            f"{manifest['schema_hash']}; it was edited, so export again"
        )
    centring = msgspec.convert(manifest["centring"], Centring)
    return FeatureTable(pl.concat(parts), features, centring, manifest["config"])


def _write_day(day: object, rows: pl.DataFrame, folder: Path) -> dict[str, Any]:
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd")
    content = buffer.getvalue()
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    path = Path(f"date={day}") / f"part-{digest}.parquet"
    if not (folder / path).exists():
        write_atomically(folder / path, content)
    return {"path": path.as_posix(), "num_rows": len(rows), "digest": digest}


def _manifest(table: FeatureTable, partitions: list[dict[str, Any]]) -> dict[str, Any]:
    times = table.frame["ts"]
    return {
        "schema_hash": table.schema_hash,
        "model_version": table.model_version,
        "columns": table.frame.columns,
        "features": [asdict(feature) for feature in table.features],
        "num_rows": len(table.frame),
        "num_requests": table.num_requests,
        "first_ts": times.min(),
        "last_ts": times.max(),
        "centring": asdict(table.centring),
        "config": table.config,
        "partitions": partitions,
    }


def _read_part(folder: Path, part: dict[str, Any], columns: list[str]) -> pl.DataFrame:
    path = folder / part["path"]
    content = path.read_bytes() if path.exists() else b""
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    if digest != part["digest"]:
        raise ValueError(
            f"{path} must be the file its manifest names, got digest {digest} for "
            f"{part['digest']}; it was changed or lost, so export again"
        )
    return pl.read_parquet(io.BytesIO(content), hive_partitioning=False).select(columns)


def _remove_strays(folder: Path, kept: set[str]) -> None:
    """Remove days and parts that the manifest no longer names."""
    for path in folder.glob("date=*/*"):
        if path.relative_to(folder).as_posix() not in kept:
            path.unlink()
    for day in folder.glob("date=*"):
        if not any(day.iterdir()):
            day.rmdir()
