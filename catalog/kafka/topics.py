"""Whether the brokers have the topics that are landed."""

from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer

from catalog.kafka.config import KafkaConfig, broker_failures
from catalog.kafka.connection import connect
from catalog.kafka.partition_offsets import groupless_options


@broker_failures()
def read_topics(
    config: KafkaConfig, *, timeout_s: float, consumer_factory: Callable[..., Any] | None = None
) -> dict[str, int]:
    """Return how many partitions each topic has; 0: there is none, or it may not be read.

    No topic is made by asking, and no group is joined.

    Args:
        config: brokers and topics.
        timeout_s: seconds of waiting for the brokers.
        consumer_factory: makes the consumer from keyword arguments; None: kafka-python's.

    Raises:
        ConnectionError: the brokers do not answer, or refuse.
    """
    make = consumer_factory or KafkaConsumer
    options = groupless_options(config) | {
        "allow_auto_create_topics": False,
        "bootstrap_timeout_ms": int(1_000 * timeout_s),
    }
    consumer = connect(lambda: make(**options), config, timeout_s=timeout_s + 1)
    assert consumer is not None  # nothing stops it
    try:
        return {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in config.tables()}
    finally:
        consumer.close(autocommit=False)
