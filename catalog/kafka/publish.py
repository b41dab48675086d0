"""A source's records onto the Kafka topics, as the systems that own them would send them.

Images, clips and sounds that a record names by a path go inline, as far as they fit: whoever lands
a message never reads a file that it names. Those behind an `http:` or `s3:` address are left for
the landing to fetch. A record that would not be landed is sent as it came, so that it is rejected,
and kept with the reason, where the others are landed.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

from catalog.images.check import MAX_BYTES
from catalog.images.image import data_uri, load_image, load_local
from catalog.images.shown import Address, addresses_of
from catalog.ingest.landing import Progress
from catalog.ingest.source import Source
from catalog.kafka.config import KafkaConfig, broker_failures
from catalog.kafka.connection import connect
from catalog.record_parsing import parse_event, parse_item
from catalog.records import RawRecord, RecordError

MAX_MESSAGE_BYTES = MAX_BYTES * 4 // 3 + 1_000_000
"""The largest image in base64, and room for words. The brokers must take as much."""

LINGER_MS = 50
PROGRESS_ROWS = 1_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """How many records were sent."""

    items: int
    events: int


@broker_failures()
def publish(
    source: Source,
    config: KafkaConfig,
    *,
    producer_factory: Callable[..., Any] = KafkaProducer,
    progress: Progress | None = None,
) -> Published:
    """Send all items, keyed by item_id, then all events, keyed by user_id.

    Sent twice, records land once. A snapshot loses its meaning: what it lacks is not deleted.

    Args:
        source: see `catalog.ingest.source.open_source`.
        config: brokers, topics and security; the group does not matter.
        producer_factory: makes the producer from keyword arguments.
        progress: told how many more records were sent.

    Raises:
        ConnectionError: the brokers do not answer.
        RuntimeError: the brokers refused a record; the text counts them and gives the first error.
    """
    options = {
        "bootstrap_servers": config.bootstrap_servers.split(","),
        "api_version": config.api_version,
        "max_request_size": MAX_MESSAGE_BYTES,
        "linger_ms": LINGER_MS,
        **config.security,
    }
    producer = connect(lambda: producer_factory(**options), config)
    assert producer is not None  # nothing stops it
    try:
        items = (_item_message(record, source.base_dir) for record in source.items())
        events = map(_event_message, source.events())
        return Published(
            items=_send(producer, config.item_topic, items, progress=progress),
            events=_send(producer, config.event_topic, events, progress=progress),
        )
    finally:
        producer.close()


def _send(
    producer: Any, topic: str, messages: Iterator[RawRecord], *, progress: Progress | None
) -> int:
    refused: list[Exception] = []
    count = 0
    for count, message in enumerate(messages, start=1):
        sent = producer.send(topic, key=message.key, value=message.raw_bytes())
        sent.add_errback(refused.append)
        if progress and count % PROGRESS_ROWS == 0:
            progress(PROGRESS_ROWS)
    producer.flush()
    if progress and count % PROGRESS_ROWS:
        progress(count % PROGRESS_ROWS)
    if refused:
        raise RuntimeError(
            f"the brokers must take every record of topic {topic!r}, got {len(refused)} refusals "
            f"of {count}, the first: {refused[0]!r}"
        )
    logger.info("stage=publish topic=%s sent=%d", topic, count)
    return count


def _item_message(record: RawRecord, base_dir: Path) -> RawRecord:
    try:
        item = parse_item(record)
        addresses = addresses_of(item)
        sent = [_sent_uri(address, base_dir) for address in addresses]
    except RecordError:
        return record
    message = replace(record, key=item.item_id.encode())
    if sum(map(len, sent)) > MAX_BYTES * 4 // 3 or sent == [address.uri for address in addresses]:
        return message
    named: dict[str, Any] = {
        **{"image_uri": None, "image_uris": []},
        **{"video_uri": None, "audio_uri": None},
    }
    for address, uri in zip(addresses, sent, strict=True):
        if address.field == "image_uris":
            named["image_uris"].append(uri)
        else:
            named[address.field] = uri
    fields = json.loads(record.raw_bytes() or b"") | {k: uri for k, uri in named.items() if uri}
    return replace(message, value=fields)


def _sent_uri(address: Address, base_dir: Path) -> str:
    """Return where the others find it: what is a file here goes inside the message."""
    if address.is_remote:
        return address.uri
    if address.kind == "image":
        return data_uri(load_image(address.uri, base_dir=base_dir))
    return data_uri(load_local(address.uri, base_dir=base_dir, max_bytes=MAX_BYTES))


def _event_message(record: RawRecord) -> RawRecord:
    try:
        return replace(record, key=parse_event(record).user_id.encode())
    except RecordError:
        return record
