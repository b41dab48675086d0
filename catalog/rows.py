"""Trusted records as rows of the lake's tables."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from catalog.records import Event, Item, RawRecord, RecordError, content_hash

Row = dict[str, Any]
"""Column name to value, in the columns of one table."""


def item_row(item: Item, image_hash: str | None) -> Row:
    """The row of `items` for an item; a tombstone keeps nothing but its id and its times.

    Args:
        item: checked by `parse_item`.
        image_hash: `picture_hash` of its picture; None when it has none.
    """
    if item.deleted:
        return tombstone_row(item.item_id, updated_at=item.updated_at)
    inline = (item.image_uri or "")[:5].lower() == "data:"
    return {
        "item_id": item.item_id,
        "title": item.title,
        "text": item.text,
        "category": item.category,
        "tags": sorted(set(item.tags)),
        "attributes": json.dumps(item.attributes, sort_keys=True, ensure_ascii=False),
        "image_uri": f"media:{image_hash}" if inline else item.image_uri,
        "image_hash": image_hash,
        "audio_uri": item.audio_uri,
        "created_at": (item.created_at or item.updated_at).astimezone(UTC),
        "updated_at": item.updated_at.astimezone(UTC),
        "deleted": False,
        "content_hash": content_hash(item, image_hash),
    }


def tombstone_row(item_id: str, *, updated_at: datetime) -> Row:
    """The row of `items` that says that an item is gone since `updated_at`."""
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
    }


def picture_hash(picture: bytes) -> str:
    """The key of a picture in `media`: sha256, 64 hexadecimal digits."""
    return hashlib.sha256(picture).hexdigest()


def event_row(event: Event) -> Row:
    """The row of `events` for an event."""
    return {
        "event_id": event.event_id,
        "request_id": event.request_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "action": event.action,
        "value": event.value,
        "position": event.position,
        "ts": event.ts.astimezone(UTC),
    }


def dead_letter_row(record: RawRecord, error: RecordError, *, failed_at: datetime) -> Row:
    """The row of `dead_letters` that keeps a record and why it was not landed."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "stage": error.stage,
        "reason": str(error),
        "key": record.key,
        "value": record.raw_bytes(),
        "failed_at": failed_at.astimezone(UTC),
        "timestamp": record.timestamp,
    }
