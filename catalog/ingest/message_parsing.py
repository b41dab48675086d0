"""Kafka messages checked and turned into the rows of a batch, all but the images.

This runs in the thread that reads, for it holds Python's lock throughout: beside the reading it
would only get in its way. What waits for disks and networks is left to the thread that writes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from catalog.ingest.batch import Batch
from catalog.record_parsing import parse_event, parse_item, parse_item_value
from catalog.records import Item, RawRecord, RecordError

Decoder = Callable[[bytes], Mapping[str, Any]]
"""A message's bytes as the fields of an item or event; times as `datetime` or RFC 3339 text.

For Avro, e.g. with fastavro, past the five bytes that a schema registry puts in front:

    def decode(value: bytes) -> Mapping[str, Any]:
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), SCHEMA)

For Protobuf: `MessageToDict(ItemMessage.FromString(value), preserving_proto_field_name=True)`.
Whatever a decoder raises makes a dead letter of the message.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoders:
    """How the messages of the two topics are decoded."""

    item: Decoder | None = None
    """Of the values of items; None takes them for JSON."""

    event: Decoder | None = None
    """Of the values of events."""


JSON = Decoders()


def parse_item_messages(messages: Iterable[Any], batch: Batch, *, decoder: Decoder | None) -> None:
    """Add messages of the item topic to a batch; `writer.write_media` completes it.

    Args:
        messages: as kafka-python's consumer gives them.
        batch: of items; a message that cannot be landed becomes a dead letter of it.
        decoder: of the values; None takes them for JSON.
    """
    for message in messages:
        batch.consumed += 1
        try:
            item = _item(message, decoder)
        except RecordError as error:
            batch.reject(_raw_record(message), error, failed_at=datetime.now(UTC))
        else:
            if (item.image_uri or item.video_uri or item.audio_uri) and not item.deleted:
                batch.without_media.append((_raw_record(message), item))
            else:
                batch.add_item(item)


def parse_event_messages(messages: Iterable[Any], batch: Batch, *, decoder: Decoder | None) -> None:
    """Add messages of the event topic to a batch; arguments as for `parse_item_messages`."""
    for message in messages:
        batch.consumed += 1
        record = _raw_record(message)
        try:
            batch.add_event(parse_event(_decoded(record, decoder)))
        except RecordError as error:
            batch.reject(record, error, failed_at=datetime.now(UTC))


def _item(message: Any, decoder: Decoder | None) -> Item:
    if decoder is None and message.value is not None:
        return parse_item_value(message.value)
    return parse_item(_decoded(_raw_record(message), decoder))


def sent_at(time_ms: int | None) -> datetime | None:
    """Return when a message says it was sent; None when it does not say, or names no real year.

    >>> sent_at(0), sent_at(-1), sent_at(10**18)
    (datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), None, None)
    """
    if time_ms is None or time_ms < 0:  # -1: the broker kept none
        return None
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # senders may write any number of 64 bits
        return None


def _raw_record(message: Any) -> RawRecord:
    return RawRecord(
        message.topic,
        message.partition,
        message.offset,
        message.value,
        message.key,
        sent_at(message.timestamp),
    )


def _decoded(record: RawRecord, decoder: Decoder | None) -> RawRecord:
    if decoder is None or not isinstance(record.value, bytes):
        return record
    try:
        return replace(record, value=decoder(record.value))
    except Exception as error:  # a decoder of hostile bytes raises whatever it stumbles over
        reason = f"the decoder refused it: {type(error).__name__}: {error}"
        raise RecordError("decode", reason) from error
