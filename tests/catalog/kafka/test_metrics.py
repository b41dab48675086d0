"""Tests for catalog/kafka/metrics.py: what Prometheus sees of a landing."""

import json
import time

import pytest
from kafka.errors import KafkaConnectionError
from prometheus_client import CollectorRegistry

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.kafka.metrics import LandingMetrics, PartitionLag
from catalog.lake.lake import Lake

CONFIG = KafkaConfig(bootstrap_servers="host:9092", batch_records=2)


def lag(position, high_water):
    return PartitionLag(topic="items", partition=0, position=position, high_water=high_water).lag


@pytest.mark.parametrize(
    ("position", "high_water", "expected"),
    [(3, 10, 7), (10, 10, 0), (None, 4, 4), (3, None, None), (12, 10, 0)],
)
def test_lag_is_what_is_missing_to_the_high_water_mark(position, high_water, expected):
    assert lag(position, high_water) == expected


def test_metrics_count_messages_and_show_where_each_partition_stands(lake, fake_broker):
    item = {"item_id": "a", "updated_at": "2026-01-01T00:00:00Z"}
    fake_broker.send("items", json.dumps(item).encode(), b"{", b"{")
    fake_broker.send("items", b"{", partition=1)
    fake_broker.poll_size, fake_broker.commit_errors = 2, [KafkaConnectionError("gone")]
    registry = CollectorRegistry()
    consume(CONFIG, lake, consumer_factory=fake_broker, metrics=LandingMetrics(registry))

    def value(name, **labels):
        return registry.get_sample_value(f"ponder_land_{name}", labels)

    assert value("messages_total", topic="items") == 4
    assert value("rejected_total", topic="items") == 3
    assert value("position", topic="items", partition="0") == 3
    assert value("lag", topic="items", partition="0") == 0
    assert value("position", topic="items", partition="1") == 1
    assert value("offset_commit_failures_total") == 1
    assert value("write_seconds_count", topic="items") == 2
    assert value("last_write_timestamp_seconds", topic="items") > 0
    assert value("rows_total", change="item_inserted") == 1


def test_a_partition_that_went_is_shown_no_longer():
    registry = CollectorRegistry()
    metrics = LandingMetrics(registry)
    labels = {"topic": "items", "partition": "0"}
    metrics.set_lags([PartitionLag(topic="items", partition=0, position=1, high_water=5)])
    assert registry.get_sample_value("ponder_land_lag", labels) == 4
    metrics.set_lags([])
    assert registry.get_sample_value("ponder_land_lag", labels) is None


def test_throughput_is_measured_from_the_first_message_to_the_end_of_the_last_write(
    lake, fake_broker
):
    item = {"item_id": "a", "updated_at": "2026-01-01T00:00:00Z"}

    class SlowLake(Lake):
        def upsert_items(self, rows, **options):
            time.sleep(0.2)
            return super().upsert_items(rows, **options)

    fake_broker.send("items", json.dumps(item).encode(), b"{", b"{")
    fake_broker.poll_size = 1  # two writes
    began = time.monotonic()
    report = consume(CONFIG, SlowLake(lake.uri), consumer_factory=fake_broker)
    assert 0.4 <= report.elapsed_s <= time.monotonic() - began
    assert report.messages_per_s == pytest.approx(3 / report.elapsed_s)
    idle = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert (idle.elapsed_s, idle.messages_per_s) == (0, 0)
