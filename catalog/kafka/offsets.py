"""Offsets stored outside Kafka: the lake records with the rows how far each partition was landed.

The lake's offsets alone count. What the brokers hold as committed offsets may be behind them, after
a crash between two commits, or ahead of them, when the lake was restored from a copy; they are
written for whoever watches the group's lag, and read only to warn of a stranger in the group. A
partition of which the lake knows nothing is read from its beginning.
"""

from collections.abc import Mapping

from kafka import TopicPartition

from catalog.kafka.config import KafkaConfig
from catalog.lake.lake import Lake
from catalog.lake.tables import Table


class LakeOffsets:
    """The offsets of one consumer group in a lake."""

    def __init__(self, lake: Lake, config: KafkaConfig) -> None:
        self._lake = lake
        self._group_id = config.group_id
        self._tables = config.tables()

    def committed(self, partition: TopicPartition) -> int | None:
        """Return the offset of the first message not landed yet; None when none ever was."""
        return self._lake.last_transaction(self._table(partition), self._name(partition))

    def reset(self, partition: TopicPartition, offset: int) -> None:
        """Land the partition again from an offset on."""
        self._lake.set_transactions(self._table(partition), {self._name(partition): offset})

    def transactions(self, offsets: Mapping[TopicPartition, int]) -> dict[str, int]:
        """Return offsets as a lake's write records them: one transaction a partition."""
        return {self._name(partition): offset for partition, offset in offsets.items()}

    def _table(self, partition: TopicPartition) -> Table:
        return self._tables[partition.topic]

    def _name(self, partition: TopicPartition) -> str:
        return f"{self._group_id}/{partition.topic}/{partition.partition}"
