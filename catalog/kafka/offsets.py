"""Where each partition goes on: the lake knows, for it records the position with the rows.

The lake's word alone counts. What the brokers hold as committed offsets may be behind it, after a
crash between two commits, or ahead of it, when the lake was restored from a copy; they are written
for whoever watches the group's lag, and never read. A partition of which the lake knows nothing is
read from its beginning.
"""

from collections.abc import Mapping

from kafka import TopicPartition

from catalog.kafka.config import KafkaConfig
from catalog.lake.lake import Lake
from catalog.lake.tables import Table


class Positions:
    """The positions of one consumer group in a lake."""

    def __init__(self, lake: Lake, config: KafkaConfig) -> None:
        self._lake = lake
        self._group_id = config.group_id
        self._tables = config.tables()

    def read(self, partition: TopicPartition) -> int | None:
        """The offset of the first message not landed yet; None when none ever was."""
        return self._lake.last_transaction(self._table(partition), self._name(partition))

    def set_back(self, partition: TopicPartition, offset: int) -> None:
        """Land the partition again from an offset on."""
        self._lake.set_transactions(self._table(partition), {self._name(partition): offset})

    def transactions(self, positions: Mapping[TopicPartition, int]) -> dict[str, int]:
        """Positions as a lake's write records them: one transaction a partition."""
        return {self._name(partition): offset for partition, offset in positions.items()}

    def _table(self, partition: TopicPartition) -> Table:
        return self._tables[partition.topic]

    def _name(self, partition: TopicPartition) -> str:
        return f"{self._group_id}/{partition.topic}/{partition.partition}"
