"""Write items as codes, and what users liked one after the other, for generative recommenders."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from catalog.atomic_file import write_atomically
from catalog.lake.item_codes import codebooks_in_use, codes_of
from catalog.lake.lake import Lake
from catalog.lake.tables import CODES, EVENTS, ITEMS
from features.histories import HistoryConfig, is_positive
from ponder.json_form import to_json
from ponder.settings import Settings
from ponder.steps.codes import NoCodes, config_of
from ponder.steps.days import ALL_DAYS, Days, end_of
from ponder.telemetry.observation import observed
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake

FORMAT = "ponder codes export 1"
ITEM_FILE, SEQUENCE_FILE, MANIFEST = "items.parquet", "sequences.parquet", "manifest.json"
SOURCES = (CODES, EVENTS, ITEMS)

Columns = Mapping[str, str]
"""Meaning of each column, by its name."""

ITEM_COLUMNS: Columns = {
    "item_id": "str, in order",
    "semantic_id": "list[i32]: the codes, then the last digit; no two items have the same",
    "deleted": "bool: such an item is in sequences, and not to be recommended",
}

SEQUENCE_COLUMNS: Columns = {
    "user_id": "str, in order",
    "item_ids": "list[str]: what the user liked, oldest first; of one moment in order of item_id",
    "semantic_ids": "list[list[i32]]: the same items, as of items.parquet",
    "ts": "list[datetime[us, UTC]]: when",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedCodes:
    """What an export of codes holds."""

    folder: Path
    model_version: str
    codes_id: str
    num_items: int
    num_users: int

    num_likes: int
    """In all sequences."""

    without_codes: int
    """Likes left out: of items that the version never embedded, or not coded yet."""


@observed("export_codes")
def export_codes(settings: Settings, folder: Path, *, days: Days = ALL_DAYS) -> ExportedCodes:
    """Write every item's semantic ID, and each user's liked items as a sequence of them.

    A sequence is in order of time, so any beginning of it is what was known then; an item is named
    as it is now, for that is what can be recommended. What was there is replaced, the manifest
    last.

    Args:
        settings: the deployment.
        folder: to write to.
        days: whose likes are taken.

    Raises:
        NoCodes: the configured version has no codebooks.
    """
    lake, version = open_lake(settings), configured_version(settings)
    used = codebooks_in_use(lake, version)
    if used is None:
        raise NoCodes(f"version {version!r} has no codes; learn some with ponder codes learn")
    source = {table.name: lake.version(table) for table in SOURCES}
    folder.mkdir(parents=True, exist_ok=True)
    items = _items(lake, used["codes_id"]).collect()
    likes = lake.scan(EVENTS).filter(is_positive(HistoryConfig()), *_between(days))
    _write(items.lazy(), folder / ITEM_FILE)
    _write(_sequences(likes, items), folder / SEQUENCE_FILE)
    written = pl.scan_parquet(folder / SEQUENCE_FILE).select(
        users=pl.len(), likes=pl.col("item_ids").list.len().sum()
    )
    num_users, num_likes = written.collect().row(0)
    num_all = likes.select(pl.len()).collect().item()
    done = ExportedCodes(
        folder=folder,
        model_version=version,
        codes_id=used["codes_id"],
        num_items=len(items),
        num_users=num_users,
        num_likes=num_likes or 0,
        without_codes=num_all - (num_likes or 0),
    )
    manifest = _manifest(done, items, used, source, days)
    write_atomically(folder / MANIFEST, to_json(manifest, indent=2) + "\n")
    return done


def _items(lake: Lake, codes_id: str) -> pl.LazyFrame:
    """Scan every item that has codes, once: by its present content, or by one it had."""
    present = lake.scan(ITEMS).select("item_id", "deleted", present_hash="content_hash")
    return (
        codes_of(lake, codes_id)
        .join(present, on="item_id")
        .with_columns(is_present=pl.col("content_hash") == pl.col("present_hash"))
        .sort(
            ["item_id", "is_present", "content_hash"],
            descending=[False, True, True],
            nulls_last=True,
        )
        .unique("item_id", keep="first", maintain_order=True)
        .select("item_id", pl.concat_list("codes", "digit").alias("semantic_id"), "deleted")
    )


def _between(days: Days) -> list[pl.Expr]:
    """Return the conditions on the days of an event."""
    conditions = []
    if days.first is not None:
        conditions.append(pl.col("ts").dt.date() >= days.first)
    if days.last is not None:
        conditions.append(pl.col("ts") < _end(days))
    return conditions


def _end(days: Days) -> datetime:
    assert days.last is not None
    return end_of(days.last)


def _sequences(likes: pl.LazyFrame, items: pl.DataFrame) -> pl.LazyFrame:
    coded = likes.join(items.lazy().select("item_id", "semantic_id"), on="item_id")
    return (
        coded.sort("user_id", "ts", "item_id", "event_id")
        .group_by("user_id", maintain_order=True)
        .agg(item_ids="item_id", semantic_ids="semantic_id", ts="ts")
    )


def _write(frame: pl.LazyFrame, path: Path) -> None:
    """Write a file that is there as a whole or not at all, without holding it in memory."""
    unfinished = path.with_name(f".{path.name}.tmp")
    frame.sink_parquet(unfinished, compression="zstd")
    unfinished.replace(path)


def _manifest(
    done: ExportedCodes,
    items: pl.DataFrame,
    used: Mapping[str, str],
    source: Mapping[str, int | None],
    days: Days,
) -> dict[str, Any]:
    config = config_of(used["config"])
    digits = items["semantic_id"].list.last().max()
    files = {
        ITEM_FILE: {"rows": done.num_items, "columns": ITEM_COLUMNS},
        SEQUENCE_FILE: {"rows": done.num_users, "columns": SEQUENCE_COLUMNS},
    }
    return {
        "format": FORMAT,
        "model_version": done.model_version,
        "codes_id": done.codes_id,
        "levels": config.num_levels,
        "codes_of_a_level": config.num_codes,
        "largest_digit": digits,
        "learned": config,
        "likes": done.num_likes,
        "likes_without_codes": done.without_codes,
        "days": {"first": days.first, "last": days.last},
        "source": source,
        "files": {
            name: about | {"sha256": _digest(done.folder / name)} for name, about in files.items()
        },
    }


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
