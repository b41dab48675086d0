"""Tests for consumer.py: the rules of reading and writing, with a broker that is a list."""

from dataclasses import replace

import pytest
from kafka.errors import CommitFailedError, KafkaConnectionError

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS
from catalog.lake.upsert import UpsertCounts
from tests.catalog.kafka.messages import (
    CONFIG,
    EVENTS_0,
    HOUR_MS,
    ITEMS_0,
    SMALL,
    T1_MS,
    event,
    item,
    position,
)


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
