"""Tests for consumer.py: where a batch ends, and where the reading does."""

import threading

import pytest

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.tables import ITEMS
from catalog.lake.upsert import UpsertCounts
from tests.catalog.kafka.messages import CONFIG, ITEMS_0, item


@pytest.mark.parametrize(
    ("limits", "batches"),
    [
        ({"batch_records": 3}, [3, 3, 1]),
        ({"batch_bytes": 3 * len(item("i0"))}, [3, 3, 1]),
        ({"batch_bytes": 1}, [1] * 7),
        ({}, [7]),
    ],
)
def test_a_batch_ends_by_count_or_bytes_or_at_the_end(lake, fake_broker, limits, batches):
    fake_broker.send("items", *(item(f"i{n}") for n in range(7)))
    fake_broker.poll_size = 1
    told = []
    config = KafkaConfig(bootstrap_servers="host:9092", **limits)
    consume(config, lake, consumer_factory=fake_broker, progress=told.append)
    assert told == batches


def test_keys_count_as_bytes_too(lake, fake_broker):
    fake_broker.send("items", *[None] * 4, keys=[letter.encode() * 100 for letter in "abcd"])
    fake_broker.poll_size, told = 1, []
    config = KafkaConfig(bootstrap_servers="host:9092", batch_bytes=200)
    consume(config, lake, consumer_factory=fake_broker, progress=told.append)
    assert told == [2, 2]


def test_when_following_a_batch_ends_by_age_and_the_reading_by_a_signal(lake, fake_broker):
    fake_broker.send("items", item("a"))
    stop, told = threading.Event(), []

    def tell(count):
        told.append(count)
        if len(told) == 1:
            fake_broker.send("items", item("b"), item("c"))
        else:
            stop.set()

    config = KafkaConfig(bootstrap_servers="host:9092", batch_age_s=0.05)
    report = consume(
        config,
        lake,
        follow=True,
        stop=stop,
        timeout_s=20.0,
        consumer_factory=fake_broker,
        progress=tell,
    )
    assert told == [1, 2]
    assert report.landed.items == UpsertCounts(inserted=3)


def test_what_was_read_is_written_when_a_signal_ends_the_reading(lake, fake_broker):
    fake_broker.send("items", item("a"))
    stop = threading.Event()

    class Stopping(type(fake_broker(x=1))):
        def poll(self, *, timeout_ms):
            polled = super().poll(timeout_ms=timeout_ms)
            if polled and self.polls > 1:
                stop.set()
            return polled

    consume(
        CONFIG,
        lake,
        follow=True,
        stop=stop,
        consumer_factory=lambda **options: Stopping(fake_broker, options),
    )
    assert lake.read(ITEMS).height == 1
    assert fake_broker.committed == {ITEMS_0: 1}


def stopping_after(num_messages, broker):
    """What `consume` takes to be stopped by the poll that brings it to so many messages."""
    stop, num_read = threading.Event(), 0

    class Stopping(type(broker(x=1))):
        def poll(self, *, timeout_ms):
            nonlocal num_read
            polled = super().poll(timeout_ms=timeout_ms)
            if (
                self.polls > 1
            ):  # what comes with the partitions is read again, from the lake's offset
                num_read += sum(map(len, polled.values()))
            if num_read >= num_messages:
                stop.set()
            return polled

    return {"stop": stop, "consumer_factory": lambda **options: Stopping(broker, options)}


def test_the_report_tells_position_high_water_and_lag_by_partition(lake, fake_broker):
    fake_broker.send("items", *(item(f"i{n}") for n in range(5)))
    fake_broker.send("items", item("z"), partition=1)
    fake_broker.poll_size = 2
    report = consume(CONFIG, lake, **stopping_after(2, fake_broker))
    stood = [
        (each.partition, each.position, each.high_water, each.lag) for each in report.partitions
    ]
    assert stood == [(0, 2, 5, 3), (1, None, 1, 1)]


def test_reading_stops_when_told_to(lake, fake_broker):
    fake_broker.send("items", *(item(f"i{n}") for n in range(6)))
    fake_broker.poll_size = 2
    few = consume(CONFIG, lake, **stopping_after(3, fake_broker))
    assert few.landed.consumed == 4


def until_up(monkeypatch, num_reads):
    """Let the time be up after so many reads; returns the seconds that were given."""
    clock = iter([0.0, *[0.5] * num_reads])
    monkeypatch.setattr("catalog.kafka.consumer.monotonic", lambda: next(clock, 2.0))
    return 1.0


def test_reading_ends_when_the_time_is_up(lake, fake_broker, monkeypatch):
    fake_broker.send("items", *(item(f"i{n}") for n in range(6)))
    fake_broker.poll_size, timeout_s = 1, until_up(monkeypatch, 4)
    report = consume(CONFIG, lake, consumer_factory=fake_broker, timeout_s=timeout_s)
    assert 0 < report.landed.consumed < 6


@pytest.mark.parametrize("is_placed", [False, True])
def test_brokers_that_give_nothing_to_read_are_an_error(lake, fake_broker, monkeypatch, is_placed):
    class Silent(type(fake_broker(x=1))):
        def poll(self, *, timeout_ms):
            if is_placed:
                super().poll(timeout_ms=timeout_ms)
            return {}

        def highwater(self, partition):
            return None

    fake_broker.send("items", item("a"))
    with pytest.raises(ConnectionError, match="until the time was up"):
        consume(
            CONFIG,
            lake,
            consumer_factory=lambda **options: Silent(fake_broker, options),
            timeout_s=until_up(monkeypatch, 30),
        )
