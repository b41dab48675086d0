"""Kafka into the lake: poll, land, then commit the offsets.

Offsets are committed last, so a crash delivers records again; landing the same records again
changes nothing. So nothing is lost and nothing is doubled, without Kafka's transactions.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import CommitFailedError, RebalanceInProgressError

from catalog.lake import Lake
from catalog.landing import LandingReport, Progress, land_events, land_items
from catalog.loader import PictureLoader
from catalog.media import DEFAULTS, MediaConfig
from catalog.records import RawRecord

POLL_MS = 500

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaConfig:
    """Which brokers and topics are read, and as which consumer group."""

    bootstrap_servers: str
    """Brokers to start from, e.g. "kafka-1:9092,kafka-2:9092"."""

    group_id: str = "ponder"
    """Consumers of one group share the partitions and one set of offsets."""

    item_topic: str = "items"
    event_topic: str = "events"

    api_version: tuple[int, ...] | None = None
    """Protocol version of old brokers, e.g. (2, 3); None negotiates it."""

    session_timeout_ms: int = 45_000
    """A consumer silent for so long loses its partitions to the others."""

    heartbeat_interval_ms: int = 3_000
    """At most a third of `session_timeout_ms`."""

    max_poll_records: int = 5_000
    """Records landed at once, and by one commit per table."""

    security: Mapping[str, Any] = field(default_factory=dict)
    """Passed through to the consumer: security_protocol, sasl_mechanism, ssl_cafile..."""

    def __post_init__(self) -> None:
        if self.item_topic == self.event_topic:
            raise ValueError(
                f"item_topic and event_topic must differ, got {self.item_topic!r} for both"
            )
        if self.max_poll_records <= 0:
            raise ValueError(f"max_poll_records must be > 0, got {self.max_poll_records}")
        if not 0 < 3 * self.heartbeat_interval_ms <= self.session_timeout_ms:
            raise ValueError(
                "heartbeat_interval_ms must be > 0 and at most a third of session_timeout_ms, got "
                f"{self.heartbeat_interval_ms} and {self.session_timeout_ms}"
            )

    def client_options(self) -> dict[str, Any]:
        """The keyword arguments of the consumer."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "group_id": self.group_id,
            "api_version": self.api_version,
            "session_timeout_ms": self.session_timeout_ms,
            "heartbeat_interval_ms": self.heartbeat_interval_ms,
            "max_poll_records": self.max_poll_records,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            **self.security,
        }


def consume(
    config: KafkaConfig,
    lake: Lake,
    *,
    max_records: int | None = None,
    timeout_s: float = 600.0,
    media: MediaConfig = DEFAULTS,
    consumer_factory: Callable[..., Any] = KafkaConsumer,
    progress: Progress | None = None,
) -> LandingReport:
    """What came of landing all that waits in the topics.

    Returns once every assigned partition is read to its end, `max_records` were read, or the time
    is up; what was read is then landed and committed. Items before events. Pictures come inline or
    are fetched: a path in a message would let a sender read this machine's files.

    Args:
        config: brokers, topics and group.
        lake: written to.
        max_records: stop after about so many, a poll more at most; None reads to the end.
        timeout_s: wall-clock seconds after which no new poll is made.
        media: where pictures may be fetched from, and their limits.
        consumer_factory: makes the consumer from topics and `client_options`.
        progress: told of every batch.
    """
    deadline = monotonic() + timeout_s
    report = LandingReport()
    consumer = consumer_factory(config.item_topic, config.event_topic, **config.client_options())
    pictures = PictureLoader(media)
    try:
        while monotonic() < deadline and (max_records is None or report.consumed < max_records):
            polled = consumer.poll(timeout_ms=POLL_MS)
            messages = [message for batch in polled.values() for message in batch]
            if messages:
                report += _land(messages, lake, config=config, pictures=pictures, progress=progress)
                _commit(consumer)
            if _caught_up(consumer):
                break
    finally:
        pictures.close()
        consumer.close(autocommit=False)
    return report


def _land(
    messages: Iterable[Any],
    lake: Lake,
    *,
    config: KafkaConfig,
    pictures: PictureLoader,
    progress: Progress | None,
) -> LandingReport:
    records = [_raw_record(message) for message in messages]
    items = [record for record in records if record.topic == config.item_topic]
    events = [record for record in records if record.topic == config.event_topic]
    landed = land_items(items, lake, pictures=pictures, progress=progress)
    return landed + land_events(events, lake, progress=progress)


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


def _commit(consumer: Any) -> None:
    try:
        consumer.commit()
    except (CommitFailedError, RebalanceInProgressError) as error:
        # The partitions went to another consumer: it reads the batch again and changes nothing.
        logger.warning("offsets not committed, the batch will be read again: %s", error)


def _caught_up(consumer: Any) -> bool:
    """Whether every assigned partition is read to its end.

    Measured by fetched high-water marks: they come with the records, and `end_offsets` has been
    seen to be wrong on one broker. A partition not fetched from yet has none.
    """
    partitions = consumer.assignment()
    marks = {partition: consumer.highwater(partition) for partition in partitions}
    return bool(partitions) and all(
        mark is not None and consumer.position(partition) >= mark
        for partition, mark in marks.items()
    )
