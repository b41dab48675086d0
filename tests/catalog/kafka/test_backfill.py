"""Tests for backfill.py: a fake consumer for the rules, a real broker for the protocol."""

import json
from collections import namedtuple
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from catalog.audit import audit_sources
from catalog.kafka.backfill import Window, backfill
from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.kafka.partition_offsets import read_partition_offsets
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS

Message = namedtuple("Message", "topic partition offset key value timestamp")
Found = namedtuple("Found", "offset timestamp")

START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = KafkaConfig(bootstrap_servers="host:9092")


def hours(number):
    return START + timedelta(hours=number)


def milliseconds(moment):
    return int(moment.timestamp() * 1000)


def item(item_id):
    return json.dumps({"item_id": item_id, "updated_at": START.isoformat()}).encode()


def event(event_id):
    fields = {"event_id": event_id, "user_id": "u", "item_id": "a", "action": "click"}
    return json.dumps(fields | {"ts": START.isoformat()}).encode()


class FakeConsumer:
    """Holds partitions as lists of messages; finds times exactly, not at all, or as 0."""

    def __init__(self, *messages, finds_times="exactly", expired=0, dies_at=None):
        self.log, self.finds_times, self.dies_at = {}, finds_times, dies_at
        for message in messages:
            at = TopicPartition(message.topic, message.partition)
            self.log.setdefault(at, []).append(message)
        self.low = expired
        self.places, self.marks, self.paused, self.reads, self.closed = {}, {}, set(), 0, False

    def __call__(self, **options):
        self.options = options
        return self

    def partitions_for_topic(self, topic):
        return {at.partition for at in self.log if at.topic == topic} or None

    def assign(self, partitions):
        self.places = dict.fromkeys(partitions, 0)

    def beginning_offsets(self, partitions):
        return dict.fromkeys(partitions, self.low)

    def end_offsets(self, partitions):  # too low when there are several, as on one broker
        return {at: min(len(self.log[at]), self.low + 1) for at in partitions}

    def offsets_for_times(self, times):
        if self.finds_times != "exactly":
            return {at: None if self.finds_times is None else Found(0, 0) for at in times}
        later = {
            at: [m for m in self.log[at][self.low :] if m.timestamp >= times[at]] for at in times
        }
        return {at: Found(m[0].offset, m[0].timestamp) if m else None for at, m in later.items()}

    def seek(self, partition, offset):
        self.places[partition] = offset

    def pause(self, *partitions):
        self.paused = set(partitions)

    def position(self, partition):
        return self.places[partition]

    def highwater(self, partition):
        return self.marks.get(partition)

    def poll(self, *, timeout_ms):
        if self.dies_at is not None and self.reads >= self.dies_at:
            return {}
        polled = {}
        for at in set(self.places) - self.paused:
            self.marks[at] = len(self.log[at])
            batch = self.log[at][self.places[at] : self.places[at] + 2]
            self.places[at] += len(batch)
            self.reads += len(batch)
            if batch:
                polled[at] = batch
        return polled

    def close(self, *, autocommit):
        self.closed = not autocommit


def by_hour(*names, topic="items", partition=0, make=item):
    """One message an hour, in the order given."""
    return [
        Message(topic, partition, n, None, make(name), milliseconds(hours(n)))
        for n, name in enumerate(names)
    ]


def landed(lake):
    return "".join(sorted(lake.read(ITEMS)["item_id"]))


def test_a_window_of_offsets_lands_these_and_no_others(lake):
    consumer = FakeConsumer(*by_hour(*"abcdef"), *by_hour(*"uvwxyz", partition=1))
    report = backfill(CONFIG, lake, Window(start=2, end=5), consumer_factory=consumer)
    assert landed(lake) == "cdewxy"
    assert report.consumed == 6
    assert consumer.options["group_id"] is None
    assert consumer.closed


@pytest.mark.parametrize("finds_times", ["exactly", None, 0])
def test_a_window_of_times_is_right_whatever_the_broker_knows_of_times(lake, finds_times):
    sent = [*by_hour(*"abcdef"), *by_hour("e0", "e1", "e2", topic="events", make=event)]
    consumer = FakeConsumer(*sent, finds_times=finds_times)
    backfill(CONFIG, lake, Window(start=hours(2), end=hours(4)), consumer_factory=consumer)
    assert landed(lake) == "cd"
    assert lake.read(EVENTS)["event_id"].to_list() == ["e2"]


def test_where_the_broker_knows_the_time_nothing_older_is_read(lake):
    consumer = FakeConsumer(*by_hour(*"abcdefgh"))
    read_partition_offsets(consumer, ["items"])
    reads_before = consumer.reads
    backfill(CONFIG, lake, Window(start=hours(6)), consumer_factory=consumer)
    assert landed(lake) == "gh"
    assert consumer.reads - reads_before <= 4


def test_messages_out_of_the_order_of_their_times_are_found_too(lake):
    a, b, c, d = by_hour(*"abcd")
    late = Message("items", 0, 4, None, item("e"), milliseconds(hours(1.5)))
    undated = Message("items", 0, 5, None, item("f"), -1)
    consumer = FakeConsumer(a, b, c, d, late, undated)
    backfill(CONFIG, lake, Window(start=hours(1), end=hours(2)), consumer_factory=consumer)
    assert landed(lake) == "bef"


def test_one_topic_or_partition_may_be_chosen(lake):
    sent = [*by_hour(*"ab"), *by_hour(*"yz", partition=1)]
    sent += by_hour("e", topic="events", make=event)
    only = Window(start=0, topic="items", partition=1)
    backfill(CONFIG, lake, only, consumer_factory=FakeConsumer(*sent))
    assert landed(lake) == "yz"
    assert lake.read(EVENTS).is_empty()
    with pytest.raises(ValueError, match=r"one of \('items', 'events'\), got 'item'"):
        backfill(CONFIG, lake, Window(start=0, topic="item"), consumer_factory=FakeConsumer())


class GrowingConsumer(FakeConsumer):
    """Two more messages arrive in partition 1 with every poll."""

    def poll(self, *, timeout_ms):
        polled = super().poll(timeout_ms=timeout_ms)
        log = self.log[TopicPartition("items", 1)]
        end = len(log)
        log += [Message("items", 1, n, None, item(f"late{n}"), 0) for n in (end, end + 1)]
        return polled


def test_a_partition_that_grows_is_read_to_where_it_ended_and_then_rests(lake):
    consumer = GrowingConsumer(*by_hour(*"abcdefghijkl"), *by_hour("y", partition=1))
    backfill(CONFIG, lake, Window(start=0), consumer_factory=consumer)
    assert landed(lake) == "abcdefghijkly"
    assert consumer.position(TopicPartition("items", 1)) <= 2  # a poll gives two at once


def test_a_long_window_is_written_in_batches(lake):
    told, config = [], replace(CONFIG, batch_records=4)
    consumer = FakeConsumer(*by_hour(*"abcdefghij"))  # a poll gives two at once
    backfill(config, lake, Window(start=0), consumer_factory=consumer, progress=told.append)
    assert told == [4, 4, 2]


def test_what_has_expired_is_not_waited_for(lake):
    consumer = FakeConsumer(*by_hour(*"abcdef"), expired=3)
    backfill(CONFIG, lake, Window(start=0, end=5), consumer_factory=consumer)
    assert landed(lake) == "de"


def test_topics_that_do_not_exist_hold_nothing(lake):
    window = Window(start=START)
    assert backfill(CONFIG, lake, window, consumer_factory=FakeConsumer()).consumed == 0


def test_the_same_window_twice_changes_no_table(lake):
    sent = [*by_hour(*"abc"), Message("items", 0, 3, None, b"{", milliseconds(hours(3)))]
    first = backfill(CONFIG, lake, Window(start=0), consumer_factory=FakeConsumer(*sent))
    assert (first.items.inserted, first.dead_letters) == (3, 1)
    before = lake.versions()
    second = backfill(CONFIG, lake, Window(start=0), consumer_factory=FakeConsumer(*sent))
    assert (second.items.unchanged, second.dead_letters) == (3, 0)
    assert lake.versions() == before


def test_brokers_that_fall_silent_are_an_error_that_names_the_place(lake):
    consumer = FakeConsumer(*by_hour(*"abcdef"), dies_at=4)
    with pytest.raises(TimeoutError, match=r"items/0 must be read up to offset 6, got .* after"):
        backfill(CONFIG, lake, Window(start=0), consumer_factory=consumer, idle_timeout_s=0.0)
    assert consumer.closed
    assert landed(lake) == "ab"  # two of the four reads found where the partition ends
    with pytest.raises(TimeoutError, match="nothing from 1, first items/0"):
        read_partition_offsets(FakeConsumer(*by_hour("a"), dies_at=0), ["items"], timeout_s=0.0)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (5, 5, "start must lie before end"),
        (hours(1), hours(0), "start must lie before end"),
        (0, hours(1), "both be offsets or both times"),
        (datetime(2026, 1, 1), None, "start must carry a time zone"),  # noqa: DTZ001
    ],
)
def test_windows_that_make_no_sense_are_refused(start, end, message):
    with pytest.raises(ValueError, match=message):
        Window(start=start, end=end)


def test_over_a_real_broker_a_window_lands_again_and_the_group_stays_where_it_is(lake, broker):
    config = KafkaConfig(
        bootstrap_servers=broker,
        item_topic="backfill-items",
        event_topic="backfill-events",
        group_id="backfill",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    producer = KafkaProducer(bootstrap_servers=broker)
    for n in range(40):
        at = milliseconds(hours(n))
        producer.send("backfill-items", value=item(f"i{n:02d}"), partition=0, timestamp_ms=at)
    producer.send("backfill-events", value=b"{", timestamp_ms=milliseconds(hours(9)))
    producer.flush()
    producer.close()
    consume(config, lake, timeout_s=30.0)
    assert lake.delete(ITEMS, lake.read(ITEMS, ["item_id"])) == 40
    assert lake.delete(DEAD_LETTERS, lake.read(DEAD_LETTERS).select(DEAD_LETTERS.key)) == 1

    backfill(config, lake, Window(start=hours(8), end=hours(12)))
    assert sorted(lake.read(ITEMS)["item_id"]) == ["i08", "i09", "i10", "i11"]
    assert lake.read(DEAD_LETTERS).height == 1
    backfill(config, lake, Window(start=38, topic="backfill-items"))
    assert lake.read(ITEMS)["item_id"].sort().to_list()[-2:] == ["i38", "i39"]

    # The broker itself tells a wrong end for the full partition; see `read_partition_offsets`.
    highs = {at.partition: at.high for at in audit_sources(config, lake) if "items" in at.topic}
    assert highs == {0: 40, 1: 0, 2: 0, 3: 0}
    watcher = KafkaConsumer(bootstrap_servers=broker, group_id="backfill")
    assert watcher.committed(TopicPartition("backfill-items", 0)) == 40
    watcher.close()
