"""Tests of landing through a real broker over TCP, produced to by an independent client.

They run against the broker that the fixture starts, or unchanged against Apache Kafka at the
address in `TEST_KAFKA`. Every test has topics and a group of its own.
"""

import json
import threading
import uuid
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS

confluent_kafka = pytest.importorskip("confluent_kafka", reason="install the 'dev' extra")
pytest.importorskip("snappy", reason="install the project anew: kafka-python's extra snappy")

T1 = "2026-01-01T00:00:00Z"
NUM_PARTITIONS = 4


def item(item_id, **fields):
    return json.dumps({"item_id": item_id, "updated_at": T1} | fields).encode()


def event(event_id):
    fields = {"event_id": event_id, "user_id": "u", "item_id": "a", "action": "click", "ts": T1}
    return json.dumps(fields).encode()


@pytest.fixture
def config(broker):
    """Two fresh topics of four partitions."""
    name = uuid.uuid4().hex[:8]
    config = KafkaConfig(
        bootstrap_servers=broker,
        group_id=f"ponder-{name}",
        item_topic=f"items-{name}",
        event_topic=f"events-{name}",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    admin = KafkaAdminClient(bootstrap_servers=broker)
    topics = (config.item_topic, config.event_topic)
    admin.create_topics([NewTopic(topic, NUM_PARTITIONS, 1) for topic in topics])
    admin.close()
    return config


def send(config, topic, messages, **options):
    """Send (key, value) pairs; the client chooses the partition by the key."""
    refused = []
    producer = confluent_kafka.Producer({"bootstrap.servers": config.bootstrap_servers} | options)
    for key, value in messages:
        producer.produce(
            topic,
            key=key,
            value=value,
            on_delivery=lambda error, _: error and refused.append(error),
        )
        producer.poll(0)
    assert producer.flush(30) == 0
    assert not refused


def numbered_items(numbers, **fields):
    return [(f"i{n}".encode(), item(f"i{n}", title=f"t{n}", **fields)) for n in numbers]


def test_several_partitions_are_read_to_their_ends_and_resumed(lake, config):
    send(config, config.item_topic, [*numbered_items(range(30)), (b"i3", None)])
    send(config, config.event_topic, [(b"u", event("e1")), (b"u", b"not json")])
    first = consume(config, lake, timeout_s=60.0)
    assert (first.landed.consumed, first.landed.events, first.landed.dead_letters) == (33, 1, 1)
    assert lake.read(ITEMS)["deleted"].sum() == 1
    assert {each.lag for each in first.partitions} == {0}
    assert len(first.partitions) == 2 * NUM_PARTITIONS
    assert sum(each.position or 0 for each in first.partitions) == 33

    send(config, config.event_topic, [(b"u", event("e2"))])
    second = consume(config, lake, timeout_s=60.0)
    assert (second.landed.consumed, second.landed.events) == (1, 1)
    assert sorted(lake.read(EVENTS)["event_id"]) == ["e1", "e2"]


def test_every_codec_is_read(lake, config):
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    for n, codec in enumerate(codecs):
        numbers = range(50 * n, 50 * (n + 1))
        send(config, config.item_topic, numbered_items(numbers), **{"compression.type": codec})
    report = consume(config, lake, timeout_s=60.0)
    assert report.landed.items.inserted == 50 * len(codecs)
    assert lake.read(DEAD_LETTERS).is_empty()


@pytest.mark.slow
def test_two_consumers_share_the_partitions_one_comes_and_one_goes_in_mid_batch(lake, config):
    send(config, config.item_topic, numbered_items(range(400)))
    small = replace(config, batch_records=20, max_poll_records=20, batch_age_s=0.5)
    stops = [threading.Event(), threading.Event()]
    reports = {}

    def member(n):
        reports[n] = consume(small, lake, follow=True, stop=stops[n], timeout_s=90.0)

    threads = [threading.Thread(target=member, args=(n,)) for n in range(2)]
    threads[0].start()
    wait_until(lambda: lake.read(ITEMS).height >= 40)
    threads[1].start()  # joins in mid-batch: a rebalance
    send(config, config.item_topic, numbered_items(range(400, 800)))
    wait_until(lambda: lake.read(ITEMS).height >= 600)
    stops[0].set()  # leaves in mid-batch: another
    threads[0].join()
    send(config, config.item_topic, numbered_items(range(800, 1000)))
    wait_until(lambda: lake.read(ITEMS).height == 1000)
    stops[1].set()
    threads[1].join()
    landed = lake.read(ITEMS)
    assert sorted(landed["item_id"]) == sorted(f"i{n}" for n in range(1000))
    assert landed["item_id"].n_unique() == landed.height
    written = [reports[n].landed.items for n in range(2)]
    assert sum(each.inserted for each in written) == 1000
    assert sum(each.updated for each in written) == 0


def wait_until(condition, *, timeout_s=90.0):
    waited = threading.Event()
    for _ in range(int(timeout_s / 0.1)):
        if condition():
            return
        waited.wait(0.1)
    pytest.fail("the landing did not get there in time")
