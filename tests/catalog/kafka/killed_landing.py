"""Lands two topics in a process that is made to be killed; `test_kills.py` starts it.

    python killed_landing.py LAKE BROKERS ITEM_TOPIC EVENT_TOPIC

With PONDER_CRASH_AT=n the process kills itself at the n-th numbered moment: before and after every
commit to a table of the lake and every commit of offsets, and between the two on disk. Without it
the number of moments that were passed is the last line that is printed. The first one comes when
everything is imported and the landing begins.
"""

import os
import signal
import sys

from kafka import KafkaConsumer, TopicPartition

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake import lake

CRASH_AT = int(os.environ.get("PONDER_CRASH_AT", "0"))


class Moments:
    """Counts the moments, and is killed at one of them."""

    passed = 0

    @classmethod
    def pass_by(cls):
        cls.passed += 1
        if cls.passed == CRASH_AT:
            os.kill(os.getpid(), signal.SIGKILL)


def mortal(commit):
    """The same, with a moment before and one after it."""

    def commit_between_moments(*args):
        Moments.pass_by()
        commit(*args)
        Moments.pass_by()

    return commit_between_moments


class MortalConsumer(KafkaConsumer):
    """Passes moments around every commit; takes all partitions at once, without joining a group.

    A group would make every restart wait until the dead member's session is over.
    """

    def subscribe(self, topics, *, listener):
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in self.partitions_for_topic(topic)
        ]
        self.assign(partitions)
        listener.on_partitions_assigned(partitions)

    def commit(self, *args, **kwargs):
        Moments.pass_by()
        super().commit(*args, **kwargs)
        Moments.pass_by()


def main():
    lake_uri, brokers, item_topic, event_topic = sys.argv[1:]
    lake.append_rows, lake.merge_rows = mortal(lake.append_rows), mortal(lake.merge_rows)
    config = KafkaConfig(
        bootstrap_servers=brokers,
        group_id=f"killed-{item_topic}",
        item_topic=item_topic,
        event_topic=event_topic,
        batch_records=60,
        max_poll_records=20,
    )
    print("begins", flush=True)  # noqa: T201
    consume(config, lake.Lake(lake_uri), consumer_factory=MortalConsumer, timeout_s=60.0)
    print(Moments.passed)  # noqa: T201


if __name__ == "__main__":
    main()
