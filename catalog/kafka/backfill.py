"""A past window of the Kafka topics, landed again.

For when the lake lost something, or a fault let something pass that it now would not: landing the
same records again changes nothing, so a window may be as generous as the topics' retention. The
consumer is in no group. The landing that goes on beside it neither notices nor moves.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from catalog.images.fetcher import ImageFetcher
from catalog.images.image import DEFAULTS, ImageConfig
from catalog.ingest.intake import Intake
from catalog.ingest.landing import Progress
from catalog.ingest.message_parsing import JSON, Decoders, sent_at
from catalog.ingest.report import LandingReport
from catalog.kafka.buffer import MessageBuffer
from catalog.kafka.config import KafkaConfig, broker_failures
from catalog.kafka.connection import connect
from catalog.kafka.partition_offsets import (
    POLL_MS,
    PartitionOffsets,
    groupless_options,
    read_partition_offsets,
)
from catalog.lake.lake import Lake

logger = logging.getLogger(__name__)

Offsets = dict[TopicPartition, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A stretch of the topics, by offset or by the time that each message bears."""

    start: int | datetime
    """The first one that belongs to it: an offset, or a time with a time zone."""

    end: int | datetime | None = None
    """The first one that no longer does, of the same kind; None: what is there when it begins."""

    topic: str | None = None
    """None: both topics."""

    partition: int | None = None
    """None: every partition."""

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if isinstance(value, datetime) and value.tzinfo is None:
                raise ValueError(f"{name} must carry a time zone, got {value.isoformat()}")
        if self.end is not None and isinstance(self.start, int) != isinstance(self.end, int):
            raise ValueError(
                f"start and end must both be offsets or both times, got {self.start!r} and "
                f"{self.end!r}"
            )
        if self.end is not None and not self.start < self.end:  # type: ignore[operator]
            raise ValueError(f"start must lie before end, got {self.start!r} and {self.end!r}")

    def holds(self, timestamp_ms: int | None) -> bool:
        """Return whether a message of this time belongs to the window; one without a time does."""
        sent = sent_at(timestamp_ms)
        if isinstance(self.start, int) or sent is None:
            return True
        return self.start <= sent and not (isinstance(self.end, datetime) and sent >= self.end)


@broker_failures()
def backfill(
    config: KafkaConfig,
    lake: Lake,
    window: Window,
    *,
    idle_timeout_s: float = 60.0,
    decoders: Decoders = JSON,
    image_config: ImageConfig = DEFAULTS,
    consumer_factory: Callable[..., Any] = KafkaConsumer,
    progress: Progress | None = None,
) -> LandingReport:
    """Land a window of the topics again.

    A window of times is read from where the brokers say it begins to the partition's end, for
    messages need not stand in the order of their times, and each message is judged by its own. A
    broker that cannot tell where it begins makes the reading longer and not wrong.

    Args:
        config: brokers, topics and security; the group is not joined.
        lake: written to.
        window: what to land.
        idle_timeout_s: give up after so many seconds without any progress.
        decoders: of the messages of the two topics.
        image_config: where images may be fetched from, and their limits.
        consumer_factory: makes the consumer from keyword arguments.
        progress: told of every batch.

    Raises:
        ConnectionError: the brokers do not answer, or refuse.
        ValueError: the window names a topic that is not one of the two.
        TimeoutError: the brokers stopped answering. What was read is landed.
    """
    topics = (config.item_topic, config.event_topic)
    if window.topic not in (None, *topics):
        raise ValueError(f"the topic must be one of {topics}, got {window.topic!r}")
    consumer = connect(lambda: consumer_factory(**groupless_options(config)), config)
    assert consumer is not None  # nothing stops it
    try:
        held = read_partition_offsets(consumer, topics if window.topic is None else [window.topic])
        if window.partition is not None:
            held = {each: o for each, o in held.items() if each.partition == window.partition}
        ends = _ends(held, window)
        consumer.assign(list(ends))
        for partition, offset in _starts(consumer, held, window).items():
            consumer.seek(partition, offset)
        with ImageFetcher(image_config) as images:
            now = datetime.now(UTC)  # one landing, however long it takes
            intake = Intake(lake=lake, images=images, decoders=decoders, landed_at=now)
            report = _land(
                _read(consumer, ends, idle_timeout_s=idle_timeout_s),
                window,
                intake,
                config=config,
                progress=progress,
            )
    finally:
        consumer.close(autocommit=False)
    logger.info("stage=backfill partitions=%d consumed=%d", len(ends), report.consumed)
    return report


def _starts(
    consumer: Any, held: Mapping[TopicPartition, PartitionOffsets], window: Window
) -> Offsets:
    if isinstance(window.start, int):
        return {each: max(window.start, offsets.low) for each, offsets in held.items()}
    start_ms = int(window.start.timestamp() * 1000)
    found = consumer.offsets_for_times(dict.fromkeys(held, start_ms)) if held else {}
    # None: no message is so late, or the broker cannot tell; only reading shows which.
    return {
        each: offsets.low if found.get(each) is None else max(found[each].offset, offsets.low)
        for each, offsets in held.items()
    }


def _ends(held: Mapping[TopicPartition, PartitionOffsets], window: Window) -> Offsets:
    last = window.end if isinstance(window.end, int) else None
    return {
        each: offsets.high if last is None else min(last, offsets.high)
        for each, offsets in held.items()
    }


def _read(
    consumer: Any, ends: Offsets, *, idle_timeout_s: float
) -> Iterator[tuple[TopicPartition, list[Any]]]:
    """Yield the messages before the ends, some of one partition at a time."""
    moved = monotonic()
    while unread := {each for each in ends if consumer.position(each) < ends[each]}:
        consumer.pause(*(set(ends) - unread))
        polled = consumer.poll(timeout_ms=POLL_MS)
        if polled:
            moved = monotonic()
        elif monotonic() > moved + idle_timeout_s:
            first = min(unread)
            raise TimeoutError(
                f"{first.topic}/{first.partition} must be read up to offset {ends[first]}, got "
                f"nothing after {consumer.position(first)} for {idle_timeout_s} s"
            )
        for partition, messages in polled.items():
            yield partition, [each for each in messages if each.offset < ends[partition]]


def _land(
    polls: Iterator[tuple[TopicPartition, Sequence[Any]]],
    window: Window,
    intake: Intake,
    *,
    config: KafkaConfig,
    progress: Progress | None,
) -> LandingReport:
    buffer, report = MessageBuffer(config, intake.parse), LandingReport()

    def write(topic: str) -> LandingReport:
        batch = buffer.take(topic).batch
        written = intake.write(config.tables()[topic], batch)
        if progress:
            progress(written.consumed)
        return written

    try:
        for partition, messages in polls:
            if wanted := [each for each in messages if window.holds(each.timestamp)]:
                buffer.add(partition, wanted)
            if buffer.is_full(partition.topic):
                report += write(partition.topic)
    finally:  # what was read is landed, whatever became of the brokers
        for topic in config.tables():
            if buffer.count(topic):
                report += write(topic)
    return report
