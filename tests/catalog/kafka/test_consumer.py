"""Tests for consumer.py: the rules of reading and writing, with a broker that is a list."""

import json
import threading
import time
from dataclasses import replace

import pytest
from kafka import TopicPartition
from kafka.errors import CommitFailedError, KafkaConnectionError

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS
from catalog.lake.upsert import UpsertCounts

T1 = "2026-01-01T00:00:00Z"
HOUR_MS = 3_600_000
T1_MS = 1_767_225_600_000
ITEMS_0, ITEMS_1 = TopicPartition("items", 0), TopicPartition("items", 1)
EVENTS_0 = TopicPartition("events", 0)

CONFIG = KafkaConfig(bootstrap_servers="host-1:9092,host-2:9092")
SMALL = KafkaConfig(bootstrap_servers="host:9092", batch_records=2)


def item(item_id, **fields):
    return json.dumps({"item_id": item_id, "updated_at": T1} | fields).encode()


def event(event_id):
    fields = {"event_id": event_id, "user_id": "u", "item_id": "a", "action": "click", "ts": T1}
    return json.dumps(fields).encode()


def titles(lake):
    return dict(lake.read(ITEMS, ["item_id", "title"]).rows())


def position(lake, partition=0):
    return lake.last_transaction(ITEMS, f"ponder/items/{partition}")


class SlowLake(Lake):
    """Lets a write go on only when told."""

    def __init__(self, uri):
        super().__init__(uri)
        self.started, self.may_end = threading.Event(), threading.Event()

    def upsert_items(self, rows, **kwargs):
        self.started.set()
        assert self.may_end.wait(10)
        return super().upsert_items(rows, **kwargs)


def test_all_that_waits_is_landed_and_committed(lake, fake_broker):
    fake_broker.send("items", item("a"), item("b"), b"{")
    fake_broker.send("events", event("e"))
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    landed = report.landed
    assert (landed.consumed, landed.items, landed.events) == (4, UpsertCounts(inserted=2), 1)
    assert landed.dead_letters == 1
    assert fake_broker.committed == {ITEMS_0: 3, EVENTS_0: 1}
    consumer = fake_broker.consumers[0]
    assert consumer.closed
    assert consumer.topics == ["items", "events"]
    assert consumer.options["bootstrap_servers"] == ["host-1:9092", "host-2:9092"]
    assert consumer.options["enable_auto_commit"] is False
    assert consumer.options["isolation_level"] == "read_committed"


def test_brokers_that_do_not_answer_are_named_and_nothing_is_written(lake):
    def nobody(**options):
        raise KafkaConnectionError("Unable to bootstrap from ['host:9092']")

    with pytest.raises(ConnectionError, match=r"must answer, got .*'host:9092'.*security settings"):
        consume(CONFIG, lake, consumer_factory=nobody)
    assert set(lake.versions().values()) == {None}


def test_security_settings_reach_the_client():
    settings = {"sasl_mechanism": "PLAIN", "security_protocol": "SASL_SSL"}
    options = replace(CONFIG, security=settings).client_options()
    assert {name: options[name] for name in settings} == settings


def test_rows_and_positions_are_one_commit_of_all_partitions(lake, fake_broker):
    fake_broker.send("items", item("a"), item("b"))
    fake_broker.send("items", item("c"), partition=1)
    consume(CONFIG, lake, consumer_factory=fake_broker)
    assert (position(lake, 0), position(lake, 1)) == (2, 1)
    assert lake.version(ITEMS) == 1  # 0 made the table


def test_a_batch_of_dead_letters_moves_the_position_too(lake, fake_broker):
    fake_broker.send("items", b"{", b"[")
    fake_broker.send("events", b"{")
    consume(CONFIG, lake, consumer_factory=fake_broker)
    assert position(lake) == 2
    assert lake.last_transaction(EVENTS, "ponder/events/0") == 1
    assert lake.read(DEAD_LETTERS).height == 3
    assert consume(CONFIG, lake, consumer_factory=fake_broker).landed.consumed == 0


def test_offsets_are_committed_after_the_lake(lake, fake_broker):
    fake_broker.send("items", *(item(f"i{n}") for n in range(5)))
    fake_broker.poll_size = 2
    stood = []
    consume(
        SMALL,
        lake,
        consumer_factory=fake_broker,
        progress=lambda _: stood.append((position(lake), fake_broker.committed[ITEMS_0])),
    )
    assert stood == [(2, 2), (4, 4), (5, 5)]

    class FailingLake(Lake):
        def upsert_items(self, rows, **kwargs):
            raise OSError("disk gone")

    fake_broker.send("items", item("i5"))
    with pytest.raises(OSError, match="disk gone"):
        consume(SMALL, FailingLake(lake.uri), consumer_factory=fake_broker)
    assert fake_broker.committed == {ITEMS_0: 5}
    assert fake_broker.consumers[-1].closed


@pytest.mark.parametrize("committed", [0, 3, 9], ids=["behind", "equal", "ahead"])
def test_the_lakes_position_counts_whatever_the_brokers_hold(lake, fake_broker, committed):
    fake_broker.send("items", *(item(f"i{n}") for n in range(3)))
    consume(CONFIG, lake, consumer_factory=fake_broker)
    fake_broker.send("items", *(item(f"i{n}") for n in range(3, 10)))
    fake_broker.committed[ITEMS_0] = committed
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert report.landed.items == UpsertCounts(inserted=7)
    assert lake.read(ITEMS).height == 10


def test_an_empty_lake_reads_from_the_beginning_whatever_the_brokers_hold(lake, fake_broker):
    fake_broker.send("items", item("a"), item("b"))
    fake_broker.committed[ITEMS_0] = 2
    assert consume(CONFIG, lake, consumer_factory=fake_broker).landed.items == UpsertCounts(
        inserted=2
    )


@pytest.mark.parametrize("error", [CommitFailedError("rebalanced"), KafkaConnectionError("gone")])
def test_brokers_that_take_no_offsets_do_not_end_the_landing(lake, fake_broker, error):
    fake_broker.send("items", item("a"), item("b"), item("c"), item("d"))
    fake_broker.poll_size, fake_broker.commit_errors = 2, [error]
    report = consume(SMALL, lake, consumer_factory=fake_broker)
    assert report.landed.items == UpsertCounts(inserted=4)
    assert fake_broker.committed == {ITEMS_0: 4}


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


def test_a_topic_created_anew_is_landed_from_its_beginning(lake, fake_broker, caplog):
    fake_broker.send("items", *(item(f"i{n}") for n in range(5)))
    consume(CONFIG, lake, consumer_factory=fake_broker)
    fake_broker.logs[ITEMS_0].clear()
    fake_broker.send("items", item("new"), item("newer"))
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert report.landed.items == UpsertCounts(inserted=2)
    assert (report.restarted, report.missed) == (1, 0)
    assert "created anew or cut" in caplog.text
    assert position(lake) == 2
    assert consume(CONFIG, lake, consumer_factory=fake_broker).landed.consumed == 0


def test_messages_that_the_brokers_deleted_unread_are_counted(lake, fake_broker, caplog):
    fake_broker.send("items", *(item(f"i{n}") for n in range(3)))
    consume(CONFIG, lake, consumer_factory=fake_broker)
    fake_broker.send("items", *(item(f"i{n}") for n in range(3, 9)))
    del fake_broker.logs[ITEMS_0][:7]
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert (report.missed, report.restarted) == (4, 0)
    assert "4 offsets are lost" in caplog.text
    assert position(lake) == 9


def test_the_gaps_of_a_compacted_topic_are_no_loss(lake, fake_broker):
    fake_broker.send("items", *(item(f"i{n}") for n in range(6)))
    del fake_broker.logs[ITEMS_0][1:5]
    fake_broker.poll_size = 1
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert (report.missed, report.landed.items) == (0, UpsertCounts(inserted=2))
    assert position(lake) == 6


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


def test_messages_delivered_again_change_nothing(lake, fake_broker):
    fake_broker.send("items", item("a"), b"{")
    fake_broker.send("items", None, keys=[b"b"])
    consume(CONFIG, lake, consumer_factory=fake_broker)
    tables = {table.name: lake.read(table) for table in (ITEMS, DEAD_LETTERS)}
    other_group = KafkaConfig(bootstrap_servers="host:9092", group_id="other")
    report = consume(other_group, lake, consumer_factory=fake_broker)
    assert report.landed.items == UpsertCounts(unchanged=2)
    for table in (ITEMS, DEAD_LETTERS):
        assert lake.read(table).equals(tables[table.name])


def test_a_tombstone_is_dated_by_the_broker_so_an_item_made_anew_lives(lake, fake_broker):
    fake_broker.send("items", item("a", title="first"), keys=[b"a"])
    fake_broker.send("items", None, keys=[b"a"], timestamp=T1_MS + HOUR_MS)
    consume(CONFIG, lake, consumer_factory=fake_broker)
    assert lake.read(ITEMS)["deleted"].to_list() == [True]
    anew = item("a", title="second", updated_at="2026-01-01T02:00:00Z")
    fake_broker.send("items", anew, keys=[b"a"], timestamp=T1_MS + 2 * HOUR_MS)
    consume(CONFIG, lake, consumer_factory=fake_broker)
    assert lake.read(ITEMS, ["title", "deleted"]).rows() == [("second", False)]


def test_a_tombstone_without_a_time_is_kept_as_a_dead_letter(lake, fake_broker):
    fake_broker.send("items", None, keys=[b"a"], timestamp=-1)
    consume(CONFIG, lake, consumer_factory=fake_broker)
    assert lake.read(DEAD_LETTERS)["key"].to_list() == [b"a"]


def test_a_path_in_a_message_reads_no_file(lake, fake_broker, tmp_path, image):
    (tmp_path / "secret.png").write_bytes(image)
    fake_broker.send("items", item("a", image_uri=f"file://{tmp_path}/secret.png"))
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert report.landed.items == UpsertCounts()
    assert lake.read(DEAD_LETTERS)["stage"].to_list() == ["media"]


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
