"""Whether the brokers answer, have the topics, and what decodes their messages is there."""

from collections.abc import Callable, Iterator
from typing import Any

from ponder.doctor.problem import Problem, said
from ponder.settings import Settings
from ponder.wiring.stores import kafka_config, message_decoders

CONNECT_S = 10.0


def check_kafka(
    settings: Settings, consumer_factory: Callable[..., Any] | None = None
) -> Iterator[Problem]:
    """Yield brokers that do not answer, topics that are not there, decoders that are none.

    Args:
        settings: the deployment.
        consumer_factory: makes the consumer from keyword arguments; None: kafka-python's.
    """
    if not settings.kafka:
        return
    try:
        message_decoders(settings)
        config = kafka_config(settings)
    except ValueError as error:
        yield Problem(
            check="kafka", what=said(error), remedy="correct the setting; see docs/configuration.md"
        )
        return
    from catalog.kafka.topics import read_topics

    try:
        partitions = read_topics(config, timeout_s=CONNECT_S, consumer_factory=consumer_factory)
    except (OSError, ValueError) as error:
        yield Problem(
            check="kafka",
            what=said(error),
            remedy="see that the brokers of PONDER_KAFKA can be reached from here, and that "
            "PONDER_KAFKA_SECURITY is what they demand",
        )
        return
    for topic, num_partitions in partitions.items():
        if not num_partitions:
            yield Problem(
                check="kafka",
                what=f"topic {topic!r} must be there and allowed to be read, got none",
                remedy="make it, allow this user to read it, or set PONDER_KAFKA_ITEM_TOPIC and "
                "PONDER_KAFKA_EVENT_TOPIC to the names that they have",
            )
