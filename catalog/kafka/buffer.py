"""Messages that were read and checked, and wait to be written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from kafka import TopicPartition

from catalog.ingest.batch import Batch
from catalog.kafka.config import KafkaConfig
from catalog.lake.tables import Table

ParseMessages = Callable[[Table, Sequence[Any], Batch], None]
"""Adds messages to a batch; see `catalog.ingest.intake.Intake.parse`."""


@dataclass(frozen=True, slots=True)
class TopicBatch:
    """What is landed together of one topic."""

    batch: Batch
    next_offsets: dict[TopicPartition, int]
    """For each partition with messages here, the offset that follows its last one."""


@dataclass(slots=True)
class _Waiting:
    batch: Batch = field(default_factory=Batch)
    next_offset: int = 0
    num_bytes: int = 0
    since: float = field(default_factory=monotonic)


class MessageBuffer:
    """The messages of each partition, in their order, until a batch of their topic is taken."""

    def __init__(self, config: KafkaConfig, parse: ParseMessages) -> None:
        """Hold nothing yet.

        Args:
            config: the topics, and how much of one is written at once.
            parse: turns messages into the rows of a batch.
        """
        self._config, self._parse = config, parse
        self._tables = config.tables()
        self._waiting: dict[TopicPartition, _Waiting] = {}

    def add(self, partition: TopicPartition, messages: Sequence[Any]) -> None:
        """Parse and hold messages that follow those held of the partition."""
        waiting = self._waiting.setdefault(partition, _Waiting())
        self._parse(self._tables[partition.topic], messages, waiting.batch)
        waiting.batch.seal()
        waiting.next_offset = messages[-1].offset + 1
        waiting.num_bytes += sum(len(each.key or b"") + len(each.value or b"") for each in messages)

    def drop(self, partition: TopicPartition) -> None:
        """Forget a partition: another consumer, or this one at a later poll, reads it again."""
        self._waiting.pop(partition, None)

    def take(self, topic: str) -> TopicBatch:
        """Return all that waits of a topic and hold it no longer."""
        partitions = [each for each in self._waiting if each.topic == topic]
        taken = {partition: self._waiting.pop(partition) for partition in partitions}
        batch = Batch()
        for waiting in taken.values():
            batch.extend(waiting.batch)
        return TopicBatch(batch, {key: waiting.next_offset for key, waiting in taken.items()})

    @property
    def num_bytes(self) -> int:
        """Size of the keys and values held, as they came."""
        return sum(waiting.num_bytes for waiting in self._waiting.values())

    def is_full(self, topic: str) -> bool:
        """Return whether a topic's batch is complete by count, or all that waits by size."""
        return (
            self.count(topic) >= self._config.batch_records
            or self.num_bytes >= self._config.batch_bytes
        )

    def is_empty(self) -> bool:
        """Return whether nothing waits."""
        return not self._waiting

    def count(self, topic: str) -> int:
        """Return how many messages of a topic wait."""
        return sum(each.batch.consumed for each in self._of(topic))

    def age_s(self, topic: str) -> float:
        """Return how many seconds a topic's oldest message has waited; 0 when none does."""
        return max((monotonic() - each.since for each in self._of(topic)), default=0.0)

    def _of(self, topic: str) -> list[_Waiting]:
        return [waiting for key, waiting in self._waiting.items() if key.topic == topic]
