"""Trusted records as rows of the lake's tables."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from catalog.lake.tables import EVENTS, ITEMS, TIME, Table
from catalog.records import (
    NO_FURTHER_MEDIA,
    Event,
    FurtherMedia,
    Item,
    RawRecord,
    RecordError,
    content_hash,
)

MAX_REASON_CHARS = 1_000

Row = dict[str, Any]
"""Column name to value, in the columns of one table."""

_BY_ARROW: dict[Any, pa.DataType] = {
    TIME: pa.timestamp("us", "UTC"),
    pl.List(pl.String): pa.large_list(pa.large_string()),
}
"""Types that pyarrow builds from Python values several times faster than Polars."""


def item_frame(
    items: Sequence[Item],
    image_hashes: Sequence[str | None],
    further: Sequence[FurtherMedia] | None = None,
) -> pl.DataFrame:
    """Return the rows of `items` for items; a tombstone keeps nothing but its id and its times.

    Column by column: what a row costs decides how fast a topic is landed.

    Args:
        items: checked by `parse_item`.
        image_hashes: `image_hash` of each item's image; None where it has none.
        further: what each of them shows beside it; None: nothing.
    """
    items = [_bare(item) if item.deleted else item for item in items]
    hashes = [
        None if item.deleted else hash_ for item, hash_ in zip(items, image_hashes, strict=True)
    ]
    more = [
        NO_FURTHER_MEDIA if item.deleted else media
        for item, media in zip(items, further or [NO_FURTHER_MEDIA] * len(items), strict=True)
    ]
    columns: dict[str, list[Any]] = {
        "item_id": [item.item_id for item in items],
        "title": [item.title for item in items],
        "text": [item.text for item in items],
        "category": [item.category for item in items],
        "tags": [item.tags for item in items],
        "attributes": [_attributes(item) for item in items],
        "image_uri": [_kept(item.image_uri, of) for item, of in zip(items, hashes, strict=True)],
        "image_hash": hashes,
        "audio_uri": [
            _kept(item.audio_uri, of.audio) for item, of in zip(items, more, strict=True)
        ],
        "created_at": [item.created_at or item.updated_at for item in items],
        "updated_at": [item.updated_at for item in items],
        "deleted": [item.deleted for item in items],
        "content_hash": list(map(_content_hash, items, hashes, more)),
        "gallery_uris": list(map(_gallery_uris, items, more)),
        "gallery_hashes": [list(media.gallery) or None for media in more],
        "video_uri": [
            _kept(item.video_uri, of.video) for item, of in zip(items, more, strict=True)
        ],
        "video_hash": [media.video for media in more],
        "audio_hash": [media.audio for media in more],
    }
    return _frame(columns, ITEMS)


def _bare(item: Item) -> Item:
    return Item(item_id=item.item_id, updated_at=item.updated_at, deleted=True)


def _content_hash(item: Item, image_hash: str | None, further: FurtherMedia) -> str | None:
    return None if item.deleted else content_hash(item, image_hash, further)


def _attributes(item: Item) -> str:
    if not item.attributes:
        return "{}"
    return msgspec.json.encode(item.attributes, order="sorted").decode()


def _gallery_uris(item: Item, further: FurtherMedia) -> str | None:
    if not item.image_uris:
        return None
    kept = map(_kept, item.image_uris, further.gallery)
    return msgspec.json.encode(list(kept)).decode()


def _kept(uri: str | None, media_hash: str | None) -> str | None:
    """Return an address as the lake keeps it: what came inside it is in `media`."""
    is_inline = uri is not None and uri[:5].lower() == "data:"
    return f"media:{media_hash}" if is_inline else uri


def tombstone_row(item_id: str, *, updated_at: datetime) -> Row:
    """Return the row of `items` that says that an item is gone since `updated_at`."""
    return {
        "item_id": item_id,
        "title": None,
        "text": None,
        "category": None,
        "tags": [],
        "attributes": "{}",
        "image_uri": None,
        "image_hash": None,
        "audio_uri": None,
        "created_at": updated_at.astimezone(UTC),
        "updated_at": updated_at.astimezone(UTC),
        "deleted": True,
        "content_hash": None,
        "gallery_uris": None,
        "gallery_hashes": None,
        "video_uri": None,
        "video_hash": None,
        "audio_hash": None,
    }


def hash_media(data: bytes) -> str:
    """Return the key of an image, a clip or a sound in `media`: sha256, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def event_frame(events: Sequence[Event]) -> pl.DataFrame:
    """Return the rows of `events` for events."""
    names = EVENTS.schema.names()
    return _frame({name: [getattr(event, name) for event in events] for name in names}, EVENTS)


def dead_letter_row(record: RawRecord, error: RecordError, *, failed_at: datetime) -> Row:
    """Return the row of `dead_letters` that keeps a record and why it was not landed."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "stage": error.stage,
        "reason": _storable(str(error)),
        "key": record.key,
        "value": record.raw_bytes(),
        "failed_at": failed_at.astimezone(UTC),
        "timestamp": record.timestamp,
    }


def _storable(reason: str) -> str:
    """Return a reason that a message quoted in it cannot make unstorable or huge."""
    return reason.encode(errors="replace").decode()[:MAX_REASON_CHARS]


def _frame(columns: dict[str, list[Any]], table: Table) -> pl.DataFrame:
    return pl.DataFrame(
        [_column(name, columns[name], dtype) for name, dtype in table.schema.items()]
    )


def _column(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    if (arrow := _BY_ARROW.get(dtype)) is None:
        return pl.Series(name, values, dtype=dtype)
    return pl.Series(name, pa.array(values, arrow), dtype=dtype)
