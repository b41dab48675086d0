"""Records checked once at the door: bytes or rows of Python values into items and events.

Nearly every record is strictly typed and is read at one go. One that is not is read again with
what the world writes beside it: `null` for a field that is absent, whole numbers as floats, and
tombstones that carry an item's other fields, whatever those are like.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from catalog.records import Action, AttributeValue, Event, Item, RawRecord, RecordError
from catalog.text_lines import BOM

MAX_ID_CHARS = 256
MAX_TEXT_CHARS = 100_000
MAX_TAGS = 200
MAX_IMAGES = 16


class _LooseItem(msgspec.Struct, kw_only=True, gc=False):
    """An item whose absent fields may be null."""

    item_id: str
    updated_at: datetime
    created_at: datetime | None = None
    title: str | None = None
    text: str | None = None
    category: str | None = None
    tags: list[str | None] | None = None
    attributes: dict[str, AttributeValue | None] | None = None
    image_uri: str | None = None
    image_uris: list[str | None] | None = None
    video_uri: str | None = None
    audio_uri: str | None = None
    deleted: bool | None = None

    def item(self) -> Item:
        """Return the item without its nulls."""
        fields = msgspec.structs.asdict(self)
        fields["tags"] = [tag for tag in self.tags or () if tag is not None]
        fields["image_uris"] = [uri for uri in self.image_uris or () if uri is not None]
        attributes = (self.attributes or {}).items()
        fields["attributes"] = {name: value for name, value in attributes if value is not None}
        return Item(**fields | {"deleted": bool(self.deleted)})


class _LooseEvent(msgspec.Struct, kw_only=True, gc=False):
    """An event whose position may be a whole number with a decimal point."""

    event_id: str
    user_id: str
    item_id: str
    action: Action
    ts: datetime
    request_id: str | None = None
    value: float | None = None
    position: int | float | None = None

    def event(self) -> Event:
        """Return the event.

        Raises:
            RecordError: the position is between two places.
        """
        position = self.position
        if isinstance(position, float):
            if not position.is_integer():
                raise RecordError("validate", f"position must be a whole number, got {position}")
            position = int(position)
        return Event(**msgspec.structs.asdict(self) | {"position": position})


class _Tombstone(msgspec.Struct, kw_only=True, gc=False):
    """All that counts of a record that deletes an item."""

    item_id: str
    updated_at: datetime
    deleted: bool


Read = TypeVar("Read", bound=msgspec.Struct)

_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Item, Event, _LooseItem, _LooseEvent, _Tombstone)
}


def parse_item(record: RawRecord) -> Item:
    """Parse the item that a record of the `items` topic holds.

    A record with no value deletes the item that its key names. Its `updated_at` is then the
    record's timestamp: read later or again, it must not kill an item that was re-created since.

    Raises:
        RecordError: the record is not an item; the text says which rule it breaks.
    """
    _refuse_defect(record)
    if record.value is None:
        return _tombstone(record)
    return parse_item_value(record.value)


def parse_item_value(value: bytes | Mapping[str, Any]) -> Item:
    """Parse the item that a value holds: JSON bytes, or a row of Python values.

    Raises:
        RecordError: as for `parse_item`.
    """
    try:
        item = _parse(value, Item)
    except RecordError:
        item = _parse_loose_item(value)
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
        and not item.image_uris
    )


def _check_item(item: Item) -> None:
    _check_id("item_id", item.item_id)
    if item.deleted:
        _check_time("updated_at", item.updated_at)
        return
    for name in ("updated_at", "created_at"):
        _check_time(name, getattr(item, name))
    for name in ("title", "text", "category"):
        _check_text(name, getattr(item, name))
    if len(item.tags) > MAX_TAGS:
        raise RecordError("validate", f"tags: at most {MAX_TAGS} are taken, got {len(item.tags)}")
    num_images = len(item.image_uris) + 1
    if num_images > MAX_IMAGES:
        raise RecordError(
            "validate", f"image_uris: at most {MAX_IMAGES} are taken, got {num_images}"
        )
    if "" in item.image_uris:
        raise RecordError("validate", "image_uris must be addresses, got an empty one")
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
    _refuse_defect(record)
    if record.value is None:
        raise RecordError("decode", "an event must have a value, got a tombstone")
    try:
        event = _parse(record.value, Event)
    except RecordError:
        event = _parse(record.value, _LooseEvent).event()
    for name in ("event_id", "user_id", "item_id"):
        _check_id(name, getattr(event, name))
    _check_time("ts", event.ts)
    if event.position is not None and not 0 <= event.position < 2**31:
        raise RecordError("validate", f"position must be in [0, 2^31), got {event.position}")
    _check_finite("value", event.value)
    return event


def _refuse_defect(record: RawRecord) -> None:
    if record.defect is not None:
        raise RecordError("decode", record.defect)


def _parse_loose_item(value: bytes | Mapping[str, Any]) -> Item:
    try:
        gone = _parse(value, _Tombstone)
    except RecordError:
        gone = None
    if gone is not None and gone.deleted:
        return Item(item_id=gone.item_id, updated_at=gone.updated_at, deleted=True)
    return _parse(value, _LooseItem).item()


def _parse(value: bytes | Mapping[str, Any], kind: type[Read]) -> Read:
    if isinstance(value, bytes):
        decoder: msgspec.json.Decoder[Read] = _DECODERS[kind]
        return _decoded(value.removeprefix(BOM), decoder)
    return _converted(value, kind)


def _decoded(value: bytes, decoder: msgspec.json.Decoder[Read]) -> Read:
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise RecordError("validate", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError("decode", f"not JSON: {error}") from error


def _converted(value: Mapping[str, Any], kind: type[Read]) -> Read:
    try:
        parsed = msgspec.convert(dict(value), type=kind)
        msgspec.json.encode(parsed)  # half a surrogate pair is a string in Python and nowhere else
        return parsed
    except msgspec.ValidationError as error:
        raise RecordError("validate", str(error)) from error
    except UnicodeEncodeError as error:
        raise RecordError("decode", f"text must be Unicode: {error.reason}") from error


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
