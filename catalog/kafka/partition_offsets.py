"""Which offsets the partitions of a topic hold, measured without being in a group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from kafka import TopicPartition

from catalog.kafka.config import KafkaConfig

POLL_MS = 500


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """The offsets that a partition holds: `low <= offset < high`."""

    low: int
    """The beginning offset; older messages have expired."""

    high: int
    """The high watermark: the offset that the next message will get."""


def groupless_options(config: KafkaConfig) -> dict[str, Any]:
    """Return the keyword arguments of a consumer that joins no group, and so moves no offsets."""
    return config.client_options() | {"group_id": None}


def read_partition_offsets(
    consumer: Any, topics: Iterable[str], *, timeout_s: float = 30.0
) -> Mapping[TopicPartition, PartitionOffsets]:
    """Measure the offsets of every partition of the topics; a missing topic has none.

    The high one is taken from a fetch: one broker in use tells the wrong end when asked for it, and
    the right one along with records. The consumer is left assigned to all partitions, in no
    particular place.

    Args:
        consumer: kafka-python's, in no group.
        topics: names.
        timeout_s: the longest wait for one fetch of every partition.

    Raises:
        TimeoutError: a partition did not answer; the text names it.
    """
    partitions = [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]
    consumer.assign(partitions)
    lows, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    filled = [partition for partition in partitions if ends[partition] > lows[partition]]
    for partition in partitions:
        consumer.seek(partition, max(ends[partition] - 1, lows[partition]))
    deadline = monotonic() + timeout_s
    while waiting := [each for each in filled if consumer.highwater(each) is None]:
        if monotonic() > deadline:
            raise TimeoutError(
                f"every partition must answer within {timeout_s} s, got nothing from "
                f"{len(waiting)}, first {waiting[0].topic}/{waiting[0].partition}"
            )
        consumer.poll(timeout_ms=POLL_MS)
    highs = {each: consumer.highwater(each) for each in filled}
    return {each: PartitionOffsets(lows[each], highs.get(each, ends[each])) for each in partitions}
