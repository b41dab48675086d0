"""Items and events as sources send them, checked once at the door.

A record arrives as untrusted bytes (Kafka, JSON Lines) or as a row of Python values (Parquet,
MovieLens). `parse_item` and `parse_event` are the only way in; past them the types can be trusted.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec

Action = Literal["impression", "click", "like", "purchase", "skip", "rating", "view"]

MAX_ID_CHARS = 256
MAX_TEXT_CHARS = 100_000
MAX_TAGS = 200

AttributeValue = str | int | float | bool


class RecordError(ValueError):
    """A record that cannot be landed; its text is the reason kept in `dead_letters`.

    Attributes:
        stage: "decode" when the bytes are not a record at all, "validate" when a field is wrong,
            "media" when an image cannot be had.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage


class Item(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """One item of the catalogue, as a source sends it. Unknown fields are ignored."""

    item_id: str
    """Unique over all sources; 1 to 256 characters."""

    updated_at: datetime
    """When the source last changed it, with a time zone. The newest record of an item wins."""

    created_at: datetime | None = None
    """When it first appeared; `updated_at` when the source does not say."""

    title: str | None = None
    text: str | None = None
    category: str | None = None

    tags: list[str] = []
    """Sorted and without repeats, however they came."""

    attributes: dict[str, AttributeValue] = {}
    """For filters (price, stock, year...); an embedder never sees them."""

    image_uri: str | None = None
    """`file:` path (relative ones start at the data folder), `http(s):`, `s3:` or a `data:` URI."""

    audio_uri: str | None = None

    deleted: bool = False
    """A tombstone. The other fields are then ignored."""

    def __post_init__(self) -> None:
        if len(self.tags) > 1:
            msgspec.structs.force_setattr(self, "tags", sorted(set(self.tags)))


class Event(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """One thing a user did, or was shown. Unknown fields are ignored."""

    event_id: str
    """Unique; the same id sent twice is one event."""

    user_id: str
    item_id: str
    action: Action
    ts: datetime
    request_id: str | None = None
    value: float | None = None
    position: int | None = None


@dataclass(slots=True)  # not frozen, which would double what a million records a minute cost
class RawRecord:
    """A record before it is trusted, with the position it came from."""

    topic: str
    """Kafka topic, or the file's path below the data folder."""

    partition: int
    offset: int
    """Position in the source: Kafka offset, or the row's number in its file, from 0."""

    value: bytes | Mapping[str, Any] | None
    """JSON bytes or a row of Python values; None is a tombstone for the item named by `key`."""

    key: bytes | None = None

    timestamp: datetime | None = None
    """When the broker took it; dates a tombstone, which has no payload that could."""

    def raw_bytes(self) -> bytes | None:
        """Return the message as `dead_letters` keeps it; a row is written as JSON."""
        if self.value is None or isinstance(self.value, bytes):
            return self.value
        return json.dumps(dict(self.value), default=_jsonable, sort_keys=True).encode()


def _jsonable(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else str(value)


Parsed = TypeVar("Parsed", Item, Event)

_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Item, Event)
}


def parse_item(record: RawRecord) -> Item:
    """Parse the item that a record of the `items` topic holds.

    A record with no value deletes the item that its key names. Its `updated_at` is then the
    record's timestamp: read later or again, it must not kill an item that was re-created since.

    Raises:
        RecordError: the record is not an item; the text says which rule it breaks.
    """
    if record.value is None:
        return _tombstone(record)
    return parse_item_value(record.value)


def parse_item_value(value: bytes | Mapping[str, Any]) -> Item:
    """Parse the item that a value holds: JSON bytes, or a row of Python values.

    Raises:
        RecordError: as for `parse_item`.
    """
    item = _parse(value, Item)
    if not _is_plain(item, num_bytes=len(value) if isinstance(value, bytes) else None):
        _check_item(item)
    return item


def _is_plain(item: Item, *, num_bytes: int | None) -> bool:
    """Return whether no check can fail, as for nearly all items; asked at a fraction of their cost.

    Args:
        item: to be checked.
        num_bytes: of the JSON it came in, which bounds its texts and has no infinite numbers; None
            when it came as values.
    """
    return (
        num_bytes is not None
        and num_bytes <= MAX_TEXT_CHARS
        and 0 < len(item.item_id) <= MAX_ID_CHARS
        and item.item_id.isprintable()
        and item.updated_at.tzinfo is UTC
        and (item.created_at is None or item.created_at.tzinfo is UTC)
        and len(item.tags) <= MAX_TAGS
    )


def _check_item(item: Item) -> None:
    _check_id("item_id", item.item_id)
    for name in ("updated_at", "created_at"):
        _check_time(name, getattr(item, name))
    for name in ("title", "text", "category"):
        _check_text(name, getattr(item, name))
    if len(item.tags) > MAX_TAGS:
        raise RecordError("validate", f"tags: at most {MAX_TAGS} are taken, got {len(item.tags)}")
    for name, value in item.attributes.items():
        _check_finite(f"attribute {name!r}", value)


def named_item(record: RawRecord) -> str | None:
    """Return the id of the item that a rejected record is about; None when it does not say.

    >>> named_item(RawRecord("items", 0, 0, b'{"item_id": "a", "title": 7}'))
    'a'
    """
    if record.key is not None:
        return record.key.decode(errors="replace")
    try:
        value = json.loads(record.value) if isinstance(record.value, bytes) else record.value
    except (ValueError, RecursionError):
        return None
    item_id = value.get("item_id") if isinstance(value, Mapping) else None
    return item_id if isinstance(item_id, str) else None


def parse_event(record: RawRecord) -> Event:
    """Parse the event that a record of the `events` topic holds.

    Raises:
        RecordError: the record is not an event; the text says which rule it breaks.
    """
    if record.value is None:
        raise RecordError("decode", "an event must have a value, got a tombstone")
    event = _parse(record.value, Event)
    for name in ("event_id", "user_id", "item_id"):
        _check_id(name, getattr(event, name))
    _check_time("ts", event.ts)
    if event.position is not None and not 0 <= event.position < 2**31:
        raise RecordError("validate", f"position must be in [0, 2^31), got {event.position}")
    _check_finite("value", event.value)
    return event


def _parse(value: bytes | Mapping[str, Any], kind: type[Parsed]) -> Parsed:
    try:
        if isinstance(value, bytes):
            return _DECODERS[kind].decode(value)
        parsed = msgspec.convert(dict(value), type=kind)
        msgspec.json.encode(parsed)  # half a surrogate pair is a string in Python and nowhere else
        return parsed
    except msgspec.ValidationError as error:
        raise RecordError("validate", str(error)) from error
    except UnicodeEncodeError as error:
        raise RecordError("decode", f"text must be Unicode: {error.reason}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError("decode", f"not JSON: {error}") from error


def _tombstone(record: RawRecord) -> Item:
    try:
        item_id = (record.key or b"").decode()
    except UnicodeDecodeError as error:
        raise RecordError("decode", f"a tombstone's key must be UTF-8: {error}") from error
    _check_id("key", item_id)
    if record.timestamp is None:
        raise RecordError("validate", "a tombstone must have a timestamp, got none")
    return Item(item_id=item_id, updated_at=record.timestamp, deleted=True)


def _check_id(name: str, value: str) -> None:
    if not 1 <= len(value) <= MAX_ID_CHARS:
        raise RecordError(
            "validate", f"{name} must have 1 to {MAX_ID_CHARS} characters, got {len(value)}"
        )
    if not value.isprintable():
        raise RecordError("validate", f"{name} must be printable, got {value!r}")


def _check_time(name: str, value: datetime | None) -> None:
    if value is None:
        return
    if value.tzinfo is None:
        raise RecordError("validate", f"{name} must carry a time zone, got {value.isoformat()}")
    try:
        value.astimezone(UTC)
    except OverflowError as error:
        message = f"{name} must lie in the years 1 to 9999 of UTC, got {value.isoformat()}"
        raise RecordError("validate", message) from error


def _check_finite(name: str, value: AttributeValue | None) -> None:
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no word for it
        raise RecordError("validate", f"{name} must be a finite number, got {value}")


def _check_text(name: str, value: str | None) -> None:
    if value is not None and len(value) > MAX_TEXT_CHARS:
        raise RecordError(
            "validate", f"{name} must have at most {MAX_TEXT_CHARS} characters, got {len(value)}"
        )


def content_hash(item: Item, image_hash: str | None) -> str:
    """Digest everything that an embedder can see of an item.

    Two items with equal digests get equal embeddings from one model version, so the digest and the
    version together are the key under which work is skipped. Left out are times, addresses (an
    image that moves to another URI is the same image) and `attributes`: they are for filters,
    and a price that changes every night must not cost an embedding. Words that describe an item
    belong into `text`.

    Returns:
        32 hexadecimal digits.
    """
    seen = _Seen(
        title=item.title,
        text=item.text,
        category=item.category,
        tags=item.tags,
        image=image_hash,
        audio=item.audio_uri,
    )
    return hashlib.blake2b(_ENCODER.encode(seen), digest_size=16).hexdigest()


class _Seen(msgspec.Struct, kw_only=True, gc=False):
    """What an embedder can see. Names and order are part of every digest ever stored."""

    audio: str | None
    category: str | None
    image: str | None
    tags: list[str]
    text: str | None
    title: str | None


_ENCODER = msgspec.json.Encoder()
