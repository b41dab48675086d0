"""Kafka into the lake, effectively once: read, write rows and offsets together, tell the brokers.

One thread reads, another writes. While a write is under way the reading goes on, until as much
waits as a write takes; then the partitions are paused and polled all the same, so that a long write
costs no membership in the group. Rows and the offsets they reach go into the lake by one commit
(`catalog.kafka.offsets`), so a crash at any point repeats what was not committed and nothing else.

A partition that moves to another consumer takes nothing along: what waits of it is forgotten, and
its new owner goes on from the lake's offset. A write of its old owner that is still under way
does no harm: the slower of the two finds its offset recorded, or writes rows that are there.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from time import monotonic
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from catalog.images.fetcher import ImageFetcher
from catalog.images.image import DEFAULTS, ImageConfig
from catalog.ingest.intake import Intake
from catalog.ingest.landing import Progress
from catalog.ingest.message_parsing import JSON, Decoders
from catalog.ingest.report import LandingReport
from catalog.kafka.assignment import NOT_ASSIGNED, Assignment
from catalog.kafka.buffer import MessageBuffer
from catalog.kafka.config import KafkaConfig, broker_failures
from catalog.kafka.connection import connect
from catalog.kafka.metrics import ConsumerReport, LandingMetrics
from catalog.kafka.offsets import LakeOffsets
from catalog.lake.lake import Lake

POLL_MS = 500
BUSY_POLL_MS = 20
"""How late the end of a write, or the coming of partitions, may be noticed."""

COMMIT_TIMEOUT_MS = 10_000

METRICS_EVERY_S = 1.0

GC_THRESHOLD = 200_000
"""New objects between two looks for cyclic garbage, while landing; Python's own is 700."""

logger = logging.getLogger(__name__)


@broker_failures()
def consume(
    config: KafkaConfig,
    lake: Lake,
    *,
    follow: bool = False,
    stop: Event | None = None,
    timeout_s: float | None = 600.0,
    decoders: Decoders = JSON,
    image_config: ImageConfig = DEFAULTS,
    consumer_factory: Callable[..., Any] = KafkaConsumer,
    metrics: LandingMetrics | None = None,
    progress: Progress | None = None,
) -> ConsumerReport:
    """Land all that waits in the topics.

    Returns once every assigned partition is read to its end, the time is up, or `stop` is set; what
    was read is then landed and committed.

    Args:
        config: brokers, topics, group and size of a batch.
        lake: written to.
        follow: go on at the end of the topics, and write by `batch_age_s` too.
        stop: ends the reading when set, e.g. by a signal handler.
        timeout_s: wall-clock seconds after which no new poll is made; None sets no limit.
        decoders: of the messages of the two topics.
        image_config: where images may be fetched from, and their limits. They come inline or are
            fetched: a path in a message would let a sender read this machine's files.
        consumer_factory: makes the consumer from `client_options`.
        metrics: kept up to date.
        progress: told of every batch.

    Raises:
        ConnectionError: the brokers do not answer at the begin (later they are waited for), refuse
            to let the topics be read, or gave no partition to read until the time was up.
        Exception: whatever the lake raised. Nothing is lost: the next call goes on where the lake
            stands.
    """
    client = connect(lambda: consumer_factory(**config.client_options()), config, stop=stop)
    if client is None:
        return ConsumerReport()
    images = ImageFetcher(image_config)
    # What waited is one landing; what is followed is known from its own write on.
    landed_at = None if follow else datetime.now(UTC)
    intake = Intake(lake=lake, images=images, decoders=decoders, landed_at=landed_at)
    landing = _Landing(
        config,
        intake,
        client,
        metrics=metrics,
        progress=progress,
    )
    deadline = None if timeout_s is None else monotonic() + timeout_s
    with images, closing(landing), _rare_collections():
        while not (stop is not None and stop.is_set()):
            if deadline is not None and monotonic() >= deadline:
                landing.require_service()
                break
            landing.read()
            landing.write(eager=not follow)
            if not follow and landing.is_done():
                break
        landing.finish()
        return landing.report()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cyclic garbage seldom: messages make none, and looking takes a tenth of a run."""
    before = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@dataclass(frozen=True, slots=True)
class _Write:
    """A write under way."""

    topic: str
    next_offsets: dict[TopicPartition, int]
    future: "Future[LandingReport]"
    started: float


class _Landing:
    """One consumer, what it has read, and the write that is under way."""

    def __init__(
        self,
        config: KafkaConfig,
        intake: Intake,
        consumer: Any,
        *,
        metrics: LandingMetrics | None,
        progress: Progress | None,
    ) -> None:
        self._config, self._intake, self._consumer = config, intake, consumer
        self._metrics, self._progress = metrics, progress
        self._tables = config.tables()
        self._offsets = LakeOffsets(intake.lake, config)
        self._assignment = Assignment(consumer, self._offsets, self._tables)
        self._buffer = MessageBuffer(config, intake.parse)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="lake")
        self._write: _Write | None = None
        self._landed = LandingReport()
        self._metrics_at = -METRICS_EVERY_S
        self._began: float | None = None
        self._elapsed_s = 0.0

    def close(self) -> None:
        """Leave the group; a write under way ends first."""
        self._writer.shutdown()
        self._consumer.close(autocommit=False)

    def read(self) -> None:
        """Take what the brokers have."""
        busy = self._write is not None or not self._assignment.is_settled()
        polled = self._consumer.poll(timeout_ms=BUSY_POLL_MS if busy else POLL_MS)
        moved = self._follow_rebalances()
        for partition, messages in polled.items():
            if partition in self._assignment and partition not in moved:
                self._take(partition, messages)

    def write(self, *, eager: bool) -> None:
        """Start the next write if one is due, and close one that has ended.

        Args:
            eager: also write what waits when there is nothing more to read.
        """
        if self._write is not None and self._write.future.done():
            self._close_write()
        if self._write is None:
            at_end = eager and self._assignment.at_end()
            due = [topic for topic in self._tables if self._is_due(topic, at_end=at_end)]
            if due:
                self._start_write(due[0])
        self._pause_when_full()
        self._update_metrics()

    def is_done(self) -> bool:
        """Return whether everything there is has been read and written."""
        return self._write is None and self._buffer.is_empty() and self._assignment.at_end()

    def require_service(self) -> None:
        """Raise when the brokers gave nothing to read from: then nothing waits to be written.

        An idle topic and a lost cluster look alike in the counts, and a night must not go on with
        the data of yesterday because it took the one for the other.

        Raises:
            ConnectionError: no partition was placed, or none was ever fetched from.
        """
        if not self._assignment.is_served():
            raise ConnectionError(
                f"the Kafka brokers at {self._config.bootstrap_servers} must give partitions of "
                f"{' and '.join(self._tables)} to read, got none that answered until the time was "
                "up; see that they run and that other consumers of the group "
                f"{self._config.group_id} are alive"
            )

    def finish(self) -> None:
        """Write all that waits."""
        self._close_write()
        self._follow_rebalances()
        for topic in self._tables:
            if self._buffer.count(topic):
                self._start_write(topic)
                self._close_write()
        if self._metrics:
            self._metrics.set_lags(self._assignment.lags())

    def report(self) -> ConsumerReport:
        """Return what was done so far."""
        return ConsumerReport(
            landed=self._landed,
            partitions=self._assignment.lags(),
            missed=self._assignment.missed,
            restarted=self._assignment.restarted,
            elapsed_s=self._elapsed_s,
        )

    def _follow_rebalances(self) -> set[TopicPartition]:
        moved = self._assignment.follow_rebalances(seek=self._write is None)
        for partition in moved:
            self._buffer.drop(partition)
        return moved

    def _take(self, partition: TopicPartition, messages: list[Any]) -> None:
        if self._assignment.is_other_log(partition, messages[0].offset):
            self._close_write()  # it may record an offset of the former log
            self._buffer.drop(partition)
            self._assignment.restart(partition, messages[0].offset)
        self._began = self._began or monotonic()
        self._assignment.advance(partition, messages)
        self._buffer.add(partition, messages)

    def _is_due(self, topic: str, *, at_end: bool) -> bool:
        return self._buffer.count(topic) > 0 and (
            at_end
            or self._buffer.is_full(topic)
            or self._buffer.age_s(topic) >= self._config.batch_age_s
        )

    def _pause_when_full(self) -> None:
        """Stop fetching while a write is under way and the next one is complete."""
        full = self._write is not None and any(map(self._buffer.is_full, self._tables))
        partitions = self._consumer.assignment() if full else self._consumer.paused()
        with suppress(*NOT_ASSIGNED):
            (self._consumer.pause if full else self._consumer.resume)(*partitions)

    def _update_metrics(self) -> None:
        """Keep the metrics of the partitions up to date, also while nothing can be written."""
        if self._metrics and monotonic() - self._metrics_at >= METRICS_EVERY_S:
            self._metrics.set_lags(self._assignment.lags())
            self._metrics_at = monotonic()

    def _start_write(self, topic: str) -> None:
        taken = self._buffer.take(topic)
        transactions = self._offsets.transactions(taken.next_offsets)
        table = self._tables[topic]
        future = self._writer.submit(
            self._intake.write, table, taken.batch, transactions=transactions
        )
        self._write = _Write(topic, taken.next_offsets, future, started=monotonic())

    def _close_write(self) -> None:
        """Wait for the write under way, then tell the brokers."""
        if self._write is None:
            return
        write, self._write = self._write, None
        report = write.future.result()
        self._landed += report
        self._commit(self._assignment.mark_landed(write.next_offsets))
        self._elapsed_s = monotonic() - (self._began or write.started)
        if self._metrics:
            self._metrics.count_write(write.topic, report, elapsed_s=monotonic() - write.started)
        if self._progress:
            self._progress(report.consumed)

    def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        commits = {key: OffsetAndMetadata(offset, "", -1) for key, offset in offsets.items()}
        try:
            self._consumer.commit(commits, timeout_ms=COMMIT_TIMEOUT_MS)
        except KafkaError as error:
            # The lake has them, and only the lake is asked; the next commit mends the brokers'.
            logger.warning("the brokers did not take the offsets: %r", error)
            if self._metrics:
                self._metrics.count_refused_commit()
