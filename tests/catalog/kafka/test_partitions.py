"""Tests for consumer.py: partitions that come, go and come back while something is written."""

import threading
import time

from catalog.kafka.consumer import consume
from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS
from catalog.lake.upsert import UpsertCounts
from tests.catalog.kafka.messages import CONFIG, ITEMS_0, ITEMS_1, SMALL, item, position


class SlowLake(Lake):
    """Lets a write go on only when told."""

    def __init__(self, uri):
        super().__init__(uri)
        self.started, self.may_end = threading.Event(), threading.Event()

    def upsert_items(self, rows, **kwargs):
        self.started.set()
        assert self.may_end.wait(10)
        return super().upsert_items(rows, **kwargs)


def test_a_partition_taken_away_in_mid_batch_takes_nothing_along(lake, fake_broker):
    fake_broker.send("items", item("a"), item("b"))
    fake_broker.send("items", item("c"), item("d"), partition=1)

    class Losing(type(fake_broker(x=1))):
        def poll(self, *, timeout_ms):
            if self.polls == 2:  # its two messages were read and wait
                self.take(ITEMS_0)
            return super().poll(timeout_ms=timeout_ms)

    fake_broker.poll_size = 2
    lost = consume(CONFIG, lake, consumer_factory=lambda **options: Losing(fake_broker, options))
    assert (lost.landed.consumed, lost.landed.items) == (2, UpsertCounts(inserted=2))
    assert [each.partition for each in lost.partitions] == [1]
    assert fake_broker.committed == {ITEMS_1: 2}
    heir = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert heir.landed.items == UpsertCounts(inserted=2)


def test_a_partition_that_comes_back_is_read_from_the_lakes_position_once(lake, fake_broker):
    fake_broker.send("items", *(item(f"i{n}") for n in range(6)))

    class Flapping(type(fake_broker(x=1))):
        def poll(self, *, timeout_ms):
            polled = super().poll(timeout_ms=timeout_ms)
            if self.polls in (1, 3):
                self.take(ITEMS_0)
                self.give(ITEMS_0)
            return polled

    fake_broker.poll_size = 2
    report = consume(
        CONFIG, lake, consumer_factory=lambda **options: Flapping(fake_broker, options)
    )
    assert (report.landed.consumed, report.landed.items) == (6, UpsertCounts(inserted=6))
    assert lake.read(ITEMS).height == 6


def test_a_write_of_a_partition_that_went_meanwhile_counts_but_is_not_committed(lake, fake_broker):
    fake_broker.send("items", item("a"))
    slow = SlowLake(lake.uri)

    class Losing(type(fake_broker(x=1))):
        def poll(self, *, timeout_ms):
            if slow.started.is_set() and not slow.may_end.is_set():
                self.take(ITEMS_0)
                slow.may_end.set()
            return super().poll(timeout_ms=timeout_ms)

    consume(CONFIG, slow, consumer_factory=lambda **options: Losing(fake_broker, options))
    assert position(lake) == 1
    assert fake_broker.committed == {}


def test_a_long_write_is_polled_through_with_the_partitions_paused(lake, fake_broker):
    fake_broker.send("items", *(item(f"i{n}") for n in range(8)))
    fake_broker.poll_size = 2
    slow = SlowLake(lake.uri)
    runner = threading.Thread(
        target=consume, args=(SMALL, slow), kwargs={"consumer_factory": fake_broker}
    )
    runner.start()
    assert slow.started.wait(10)
    consumer = fake_broker.consumers[0]
    before = consumer.polls
    deadline = time.monotonic() + 10
    while consumer.polls < before + 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    read = consumer.positions[ITEMS_0]
    slow.may_end.set()
    runner.join()
    assert consumer.polls >= before + 5
    assert read == 4  # one batch under way, one waiting, and no more
    assert lake.read(ITEMS).height == 8
    assert not consumer.paused_now


def titles(lake):
    return dict(lake.read(ITEMS, ["item_id", "title"]).rows())


def test_an_owner_that_lost_its_partition_writes_too_late_and_changes_nothing(lake, fake_broker):
    fake_broker.send("items", item("a", title="one"))
    slow = SlowLake(lake.uri)
    late = threading.Thread(
        target=consume, args=(CONFIG, slow), kwargs={"consumer_factory": fake_broker}
    )
    late.start()
    assert slow.started.wait(10)
    fake_broker.send("items", item("a", title="two", updated_at="2026-01-02T00:00:00Z"))
    consume(CONFIG, lake, consumer_factory=fake_broker)
    version = lake.version(ITEMS)
    slow.may_end.set()
    late.join()
    assert position(lake) == 2
    assert titles(lake) == {"a": "two"}
    # What the late one did after its first write is reading on from where it was.
    assert lake.version(ITEMS) <= version + 1


def test_a_stranger_in_the_group_is_named(lake, fake_broker, caplog):
    fake_broker.send("items", *(item(f"i{n}") for n in range(3)))
    fake_broker.committed[ITEMS_0] = 2  # by somebody: this lake has landed nothing
    consume(CONFIG, lake, consumer_factory=fake_broker)
    assert "committed 2" in caplog.text
    caplog.clear()
    consume(CONFIG, lake, consumer_factory=fake_broker)
    assert "committed" not in caplog.text


def test_a_consumer_without_partitions_of_its_own_is_no_error(lake, fake_broker):
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert report.partitions == ()
