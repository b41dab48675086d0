"""The partitions that a consumer has for the time being, and how far each was read and landed."""

import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import IllegalStateError, KafkaError

from catalog.kafka.metrics import PartitionLag
from catalog.kafka.offsets import LakeOffsets

NOT_ASSIGNED = (IllegalStateError, KeyError, ValueError)
"""What kafka-python raises when it is asked about a partition that has just gone."""

COMMITTED_TIMEOUT_MS = 5_000

logger = logging.getLogger(__name__)


class RebalanceQueue(ConsumerRebalanceListener):
    """Which partitions were assigned and revoked, kept until the reading loop asks.

    kafka-python calls this from a thread of its own, which also sends the heartbeats, so nothing is
    read or written here.
    """

    def __init__(self) -> None:
        self._rebalances: deque[tuple[bool, frozenset[TopicPartition]]] = deque()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Note that partitions were assigned."""
        self._rebalances.append((True, frozenset(assigned)))

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Note that partitions were revoked."""
        self._rebalances.append((False, frozenset(revoked)))

    def take(self) -> list[tuple[bool, frozenset[TopicPartition]]]:
        """Return the rebalances since the last call, oldest first: whether assigned, and which."""
        return [self._rebalances.popleft() for _ in range(len(self._rebalances))]


class Assignment:
    """The partitions of one consumer, each read from the offset that the lake records."""

    def __init__(self, consumer: Any, offsets: LakeOffsets, topics: Collection[str]) -> None:
        """Join the group; the partitions come with later polls."""
        self.missed = 0
        """Messages that the brokers had deleted before they were landed."""

        self.restarted = 0
        """Logs that turned out to be other ones than those landed."""

        self._consumer, self._offsets = consumer, offsets
        self._rebalances = RebalanceQueue()
        self._joined = False
        self._unsought: set[TopicPartition] = set()
        self._read: dict[TopicPartition, int | None] = {}
        self._landed: dict[TopicPartition, int | None] = {}
        consumer.subscribe(list(topics), listener=self._rebalances)

    def __contains__(self, partition: TopicPartition) -> bool:
        """Return whether the partition is assigned, and read from the lake's offset."""
        return partition in self._read

    def is_settled(self) -> bool:
        """Return whether the group answered and every partition is read from the lake's offset."""
        return self._joined and not self._unsought

    def is_served(self) -> bool:
        """Return whether the group answered, and the brokers for one of its partitions here.

        A consumer with no partitions is served: the group has more consumers than partitions.
        """
        marks = [self._high_water(each) for each in self._read]
        return self.is_settled() and (not marks or any(mark is not None for mark in marks))

    def follow_rebalances(self, *, seek: bool) -> set[TopicPartition]:
        """Return the partitions that came, went or were sought; what was read of them is void.

        Args:
            seek: go to the lake's offsets; False while a write may still move them.
        """
        moved: set[TopicPartition] = set()
        for came, partitions in self._rebalances.take():
            for partition in partitions:
                self._read.pop(partition, None)
                self._landed.pop(partition, None)
            moved |= partitions
            self._joined |= came
            self._unsought = self._unsought | partitions if came else self._unsought - partitions
        if seek:
            moved |= self._unsought
            for partition in sorted(self._unsought):
                self._seek(partition)
        return moved

    def is_other_log(self, partition: TopicPartition, first: int) -> bool:
        """Return whether the log is another one than that read so far.

        Asked for an offset past its end the brokers give a log from its beginning, so an offset
        comes that is smaller than the one that was due.

        Args:
            partition: one of those here.
            first: offset of the first message that came.
        """
        due = self._read[partition]
        return due is not None and first < due

    def restart(self, partition: TopicPartition, first: int) -> None:
        """Land a replaced log from its beginning, which changes nothing that is newer."""
        logger.error(
            "%s ended before offset %d, up to which it was landed: the topic was created anew or "
            "cut; it is landed again from offset %d",
            partition,
            self._read[partition],
            first,
        )
        self._offsets.reset(partition, first)
        self._read[partition] = self._landed[partition] = first
        self.restarted += 1

    def advance(self, partition: TopicPartition, messages: Sequence[Any]) -> None:
        """Note that these messages were read."""
        due, first = self._read[partition], messages[0].offset
        if due is not None and first > due:
            self._count_missed(partition, due)
        self._read[partition] = messages[-1].offset + 1

    def mark_landed(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Note offsets as landed, and return those of partitions that are still assigned."""
        owned = {key: offset for key, offset in offsets.items() if key in self._read}
        self._landed |= owned
        return owned

    def lags(self) -> tuple[PartitionLag, ...]:
        """Return how far each partition has been landed, by topic and number."""
        return tuple(
            PartitionLag(
                topic=partition.topic,
                partition=partition.partition,
                position=self._landed[partition],
                high_water=self._high_water(partition),
            )
            for partition in sorted(self._landed)
        )

    def at_end(self) -> bool:
        """Return whether every partition is read to its end.

        Measured by fetched high watermarks: they come with the records, and `end_offsets` has been
        seen to be wrong on one broker. A partition not fetched from yet has none; one that stands
        past its watermark is about to be sent back by the brokers. A consumer with no partitions,
        for the group has more consumers than these, is at the end too.
        """
        try:
            highs = {each: self._consumer.highwater(each) for each in self._read}
            return (
                self.is_settled()
                and None not in highs.values()  # first, for `position` may wait for the brokers
                and all(self._consumer.position(each) == high for each, high in highs.items())
            )
        except NOT_ASSIGNED:
            return False

    def _seek(self, partition: TopicPartition) -> None:
        offset = self._offsets.committed(partition)
        try:
            if offset is None:
                self._consumer.seek_to_beginning(partition)
            else:
                self._consumer.seek(partition, offset)
        except NOT_ASSIGNED:  # its going comes with the next rebalance
            return
        self._unsought.discard(partition)
        self._read[partition] = self._landed[partition] = offset
        logger.info("stage=land partition=%s from=%s", partition, offset)
        self._warn_of_strangers(partition, offset or 0)

    def _warn_of_strangers(self, partition: TopicPartition, offset: int) -> None:
        """Say so when somebody else has moved the group's offset past what this lake has."""
        try:
            committed = self._consumer.committed(partition, timeout_ms=COMMITTED_TIMEOUT_MS)
        except KafkaError:  # a warning is not worth an outage
            return
        if committed is not None and committed > offset:
            logger.warning(
                "%s is landed here from offset %d, and its group has committed %d: either this "
                "lake is an older copy, or another deployment reads with the same group and takes "
                "partitions away; give each its own (PONDER_KAFKA_GROUP)",
                partition,
                offset,
                committed,
            )

    def _count_missed(self, partition: TopicPartition, due: int) -> None:
        beginning = self._consumer.beginning_offsets([partition])[partition]
        missed = max(beginning - due, 0)  # other gaps are those of a compacted topic
        if missed:
            self.missed += missed
            logger.error(
                "%s was deleted up to offset %d by the brokers before it was landed from %d on: "
                "%d offsets are lost; ask the source to send them again, and retain more",
                partition,
                beginning,
                due,
                missed,
            )

    def _high_water(self, partition: TopicPartition) -> int | None:
        try:
            return self._consumer.highwater(partition)
        except NOT_ASSIGNED:
            return None
