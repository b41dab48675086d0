"""Messages that were read and wait to be written."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from kafka import TopicPartition


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages of one topic that are landed together."""

    topic: str
    messages: list[Any]

    positions: dict[TopicPartition, int]
    """For each partition with messages here, the offset that follows its last one."""


@dataclass(slots=True)
class Backlog:
    """The messages of each partition, in their order, until a delivery takes them."""

    num_bytes: int = 0
    """Keys and values held."""

    _waiting: dict[TopicPartition, list[Any]] = field(default_factory=lambda: defaultdict(list))
    _since: dict[str, float] = field(default_factory=dict)

    def add(self, partition: TopicPartition, messages: Sequence[Any]) -> None:
        """Hold messages that follow those held of the partition."""
        self._waiting[partition].extend(messages)
        self._since.setdefault(partition.topic, monotonic())
        self.num_bytes += _num_bytes(messages)

    def drop(self, partition: TopicPartition) -> None:
        """Forget a partition: another consumer, or this one at a later poll, reads it again."""
        self.num_bytes -= _num_bytes(self._waiting.pop(partition, ()))

    def take(self, topic: str) -> Delivery:
        """All that waits of a topic, which then no longer does."""
        partitions = [each for each in self._waiting if each.topic == topic]
        taken = {partition: self._waiting.pop(partition) for partition in partitions}
        self._since.pop(topic, None)
        messages = [message for each in taken.values() for message in each]
        self.num_bytes -= _num_bytes(messages)
        positions = {partition: each[-1].offset + 1 for partition, each in taken.items()}
        return Delivery(topic, messages, positions)

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not any(self._waiting.values())

    def count(self, topic: str) -> int:
        """How many messages wait of a topic."""
        return sum(len(each) for key, each in self._waiting.items() if key.topic == topic)

    def age_s(self, topic: str) -> float:
        """For how many seconds the oldest message of a topic has waited; 0 when none does."""
        return monotonic() - self._since[topic] if self.count(topic) else 0.0


def _num_bytes(messages: Sequence[Any]) -> int:
    return sum(len(each.value or b"") + len(each.key or b"") for each in messages)
