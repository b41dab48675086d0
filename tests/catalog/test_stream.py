"""Tests for catalog/stream.py: a fake consumer for the rules, a real broker for the protocol."""

import json
from collections import namedtuple

import pytest
from kafka import KafkaProducer
from kafka.errors import CommitFailedError

from catalog.stream import KafkaConfig, consume
from catalog.tables import DEAD_LETTERS, EVENTS, ITEMS
from catalog.upsert import Counts

T1 = "2026-01-01T00:00:00Z"
HOUR_MS = 3_600_000
T1_MS = 1_767_225_600_000

Message = namedtuple("Message", "topic partition offset key value timestamp")

CONFIG = KafkaConfig(bootstrap_servers="host-1:9092,host-2:9092")


class FakeConsumer:
    """Hands out the messages of one list, `size` a poll, and remembers what was committed."""

    def __init__(self, messages, *, size=100, commit_errors=()):
        self.messages, self.size, self.commit_errors = messages, size, list(commit_errors)
        self.read = 0
        self.committed = []
        self.closed = False

    def __call__(self, *topics, **options):
        self.topics, self.options = topics, options
        return self

    def poll(self, *, timeout_ms):
        batch = self.messages[self.read : self.read + self.size]
        self.read += len(batch)
        return {"p0": batch} if batch else {}

    def commit(self):
        if self.commit_errors:
            raise self.commit_errors.pop()
        self.committed.append(self.read)

    def assignment(self):
        return {"p0"}

    def highwater(self, partition):
        return len(self.messages)

    def position(self, partition):
        return self.read

    def close(self, *, autocommit):
        self.closed = not autocommit


def item(item_id, **fields):
    return json.dumps({"item_id": item_id, "updated_at": T1} | fields).encode()


def event(event_id):
    fields = {"event_id": event_id, "user_id": "u", "item_id": "a", "action": "click", "ts": T1}
    return json.dumps(fields).encode()


def messages(*values, topic="items"):
    return [Message(topic, 0, n, None, value, T1_MS) for n, value in enumerate(values)]


def test_all_that_waits_is_landed_and_committed(lake):
    consumer = FakeConsumer(
        messages(item("a"), item("b"), b"{") + messages(event("e"), topic="events")
    )
    report = consume(CONFIG, lake, consumer_factory=consumer)
    assert (report.consumed, report.items, report.events) == (4, Counts(inserted=2), 1)
    assert report.dead_letters == 1
    assert (consumer.committed, consumer.closed) == ([4], True)
    assert consumer.topics == ("items", "events")
    assert consumer.options["bootstrap_servers"] == ["host-1:9092", "host-2:9092"]
    assert consumer.options["enable_auto_commit"] is False


def test_every_poll_is_committed_after_it_is_landed(lake):
    consumer = FakeConsumer(messages(*(item(f"i{n}") for n in range(5))), size=2)
    landed = []
    consume(
        CONFIG,
        lake,
        consumer_factory=consumer,
        progress=lambda _: landed.append((lake.read(ITEMS).height, list(consumer.committed))),
    )
    assert landed == [(2, []), (4, [2]), (5, [2, 4])]
    assert consumer.committed == [2, 4, 5]


def test_a_lost_partition_does_not_end_the_worker(lake):
    consumer = FakeConsumer(
        messages(item("a"), item("b")), size=1, commit_errors=[CommitFailedError("rebalanced")]
    )
    assert consume(CONFIG, lake, consumer_factory=consumer).items == Counts(inserted=2)
    assert consumer.committed == [2]


def test_messages_delivered_again_change_nothing(lake):
    sent = [*messages(item("a"), b"{"), Message("items", 0, 2, b"b", None, T1_MS)]
    consume(CONFIG, lake, consumer_factory=FakeConsumer(sent))
    before = lake.versions()
    report = consume(CONFIG, lake, consumer_factory=FakeConsumer(sent))
    assert lake.versions() == before
    assert report.items == Counts(unchanged=2)


def test_a_tombstone_is_dated_by_the_broker_so_an_item_made_anew_lives(lake):
    sent = [
        Message("items", 0, 0, b"a", item("a", title="first"), T1_MS),
        Message("items", 0, 1, b"a", None, T1_MS + HOUR_MS),
    ]
    anew = item("a", title="second", updated_at="2026-01-01T02:00:00Z")
    consume(CONFIG, lake, consumer_factory=FakeConsumer(sent))
    assert lake.read(ITEMS)["deleted"].to_list() == [True]
    again = [*sent, Message("items", 0, 2, b"a", anew, T1_MS + 2 * HOUR_MS)]
    consume(CONFIG, lake, consumer_factory=FakeConsumer(again, size=1))
    assert lake.read(ITEMS, ["title", "deleted"]).rows() == [("second", False)]


def test_a_tombstone_without_a_time_is_kept_as_a_dead_letter(lake):
    consume(CONFIG, lake, consumer_factory=FakeConsumer([Message("items", 0, 0, b"a", None, -1)]))
    assert lake.read(DEAD_LETTERS)["key"].to_list() == [b"a"]


def test_a_path_in_a_message_reads_no_file(lake, tmp_path, picture):
    (tmp_path / "secret.png").write_bytes(picture)
    sent = messages(item("a", image_uri=f"file://{tmp_path}/secret.png"))
    report = consume(CONFIG, lake, consumer_factory=FakeConsumer(sent))
    assert report.items == Counts()
    assert lake.read(DEAD_LETTERS)["stage"].to_list() == ["media"]


def test_reading_stops_after_max_records_or_when_the_time_is_up(lake):
    sent = messages(*(item(f"i{n}") for n in range(6)))
    few = consume(CONFIG, lake, consumer_factory=FakeConsumer(sent, size=2), max_records=3)
    assert few.consumed == 4
    none = consume(CONFIG, lake, consumer_factory=FakeConsumer(sent), timeout_s=0.0)
    assert none.consumed == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"item_topic": "events"}, "must differ"),
        ({"max_poll_records": 0}, "max_poll_records must be > 0"),
        ({"session_timeout_ms": 6_000}, "at most a third"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields, message):
    if "session_timeout_ms" in fields:
        fields = fields | {"heartbeat_interval_ms": 2_001}
    with pytest.raises(ValueError, match=message):
        KafkaConfig(bootstrap_servers="host:9092", **fields)


def test_a_real_broker_is_read_to_its_end_and_resumed(lake, broker):
    producer = KafkaProducer(bootstrap_servers=broker)
    config = KafkaConfig(
        bootstrap_servers=broker, session_timeout_ms=6_000, heartbeat_interval_ms=500
    )
    for n in range(30):
        producer.send("items", key=f"i{n}".encode(), value=item(f"i{n}", title=f"t{n}"))
    producer.send("items", key=b"i3", value=None)
    producer.send("events", value=event("e1"))
    producer.send("events", value=b"not json")
    producer.flush()
    first = consume(config, lake, timeout_s=30.0)
    assert (first.consumed, first.events, first.dead_letters) == (33, 1, 1)
    assert lake.read(ITEMS)["deleted"].sum() == 1

    producer.send("events", value=event("e2"))
    producer.flush()
    producer.close()
    second = consume(config, lake, timeout_s=30.0)
    assert (second.consumed, second.events) == (1, 1)
    assert sorted(lake.read(EVENTS)["event_id"]) == ["e1", "e2"]
