"""A delivery: messages of one topic that one commit lands, with the positions that they reach."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from catalog.batch import Batch
from catalog.commits import write_events, write_items
from catalog.lake import Lake, Transactions
from catalog.media import load_media
from catalog.records import RawRecord, RecordError, parse_event, parse_item
from catalog.report import LandingReport

Decoder = Callable[[bytes], Mapping[str, Any]]
"""A message's bytes as the fields of an item or event; times as `datetime` or RFC 3339 text.

For Avro, e.g. with fastavro, past the five bytes that a schema registry puts in front:

    def decode(value: bytes) -> Mapping[str, Any]:
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), SCHEMA)

For Protobuf: `MessageToDict(ItemMessage.FromString(value), preserving_proto_field_name=True)`.
Whatever a decoder raises makes a dead letter of the message.
"""


def land_items_delivery(
    messages: Iterable[Any], lake: Lake, *, transactions: Transactions, decoder: Decoder | None
) -> LandingReport:
    """What came of landing messages of the item topic; pictures must come inline.

    A path in a message would let a sender read this machine's files, so none is followed.

    Args:
        messages: as kafka-python's consumer gives them.
        lake: written to.
        transactions: recorded in the commit that writes the items, even if it writes none.
        decoder: of the values; None takes them for JSON.
    """
    now = datetime.now(UTC)
    batch = Batch()
    for message in messages:
        record = _raw_record(message)
        try:
            item = parse_item(_decoded(record, decoder))
            batch.add_item(item, load_media(item, base_dir=None))
        except RecordError as error:
            batch.reject(record, error, failed_at=now)
        batch.consumed += 1
    return write_items(batch, lake, transactions=transactions)


def land_events_delivery(
    messages: Iterable[Any], lake: Lake, *, transactions: Transactions, decoder: Decoder | None
) -> LandingReport:
    """What came of landing messages of the event topic; see `land_items_delivery`."""
    now = datetime.now(UTC)
    batch = Batch()
    for message in messages:
        record = _raw_record(message)
        try:
            batch.add_event(parse_event(_decoded(record, decoder)))
        except RecordError as error:
            batch.reject(record, error, failed_at=now)
        batch.consumed += 1
    return write_events(batch, lake, transactions=transactions)


def _raw_record(message: Any) -> RawRecord:
    known = message.timestamp is not None and message.timestamp >= 0  # -1: the broker kept none
    return RawRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        value=message.value,
        key=message.key,
        timestamp=datetime.fromtimestamp(message.timestamp / 1000, UTC) if known else None,
    )


def _decoded(record: RawRecord, decoder: Decoder | None) -> RawRecord:
    if decoder is None or not isinstance(record.value, bytes):
        return record
    try:
        return replace(record, value=decoder(record.value))
    except Exception as error:  # a decoder of hostile bytes raises whatever it stumbles over
        reason = f"the decoder refused it: {type(error).__name__}: {error}"
        raise RecordError("decode", reason) from error
