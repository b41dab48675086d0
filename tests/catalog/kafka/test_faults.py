"""Fault scripts: whatever fails between any two writes, the lake ends as if nothing had.

The broker's logs and committed offsets outlive the crashes, as does the lake. 25 scripts are
run by default; `TEST_SCRIPTS` asks for more.
"""

import json
import os
import tempfile

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS, MEDIA

T1_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
TABLES = (ITEMS, EVENTS, MEDIA, DEAD_LETTERS)
POISON = (b"", b"{", b"\xff\xfe", b"null", b"[[[[", b'{"item_id": 7}', b'{"item_id": "a"}')
IMAGES = (
    None,
    "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==",
    "http://127.0.0.1/a.png",  # refused without asking anybody
)


class Crash(Exception):
    """The process is gone."""


class Faults:
    """Counts the moments at which a process may die, and lets it die at some of them."""

    def __init__(self, crashes):
        self.crashes, self.moment = crashes, 0

    def pass_by(self):
        self.moment += 1
        if self.moment in self.crashes:
            raise Crash

    def around(self, work):
        self.pass_by()
        result = work()
        self.pass_by()
        return result


class FaultyLake(Lake):
    """Dies before or after a write."""

    def __init__(self, uri, faults):
        super().__init__(uri)
        self.faults = faults

    def insert_new(self, *args, **kwargs):
        return self.faults.around(lambda: super(FaultyLake, self).insert_new(*args, **kwargs))

    def put_dead_letters(self, *args, **kwargs):
        return self.faults.around(lambda: super(FaultyLake, self).put_dead_letters(*args, **kwargs))

    def upsert_events(self, *args, **kwargs):
        return self.faults.around(lambda: super(FaultyLake, self).upsert_events(*args, **kwargs))

    def upsert_items(self, *args, **kwargs):
        return self.faults.around(lambda: super(FaultyLake, self).upsert_items(*args, **kwargs))


def faulty_consumer(broker, faults, rebalances, options):
    class FaultyConsumer(type(broker(x=1))):
        """Dies around a commit, and loses a partition and gets it back at some polls."""

        def commit(self, offsets, *, timeout_ms):
            faults.around(
                lambda: super(FaultyConsumer, self).commit(offsets, timeout_ms=timeout_ms)
            )

        def poll(self, *, timeout_ms):
            polled = super().poll(timeout_ms=timeout_ms)
            if self.polls in rebalances:
                partitions = sorted(self.positions)[: rebalances[self.polls]]
                self.take(*partitions)
                self.give(*partitions)
            return polled

    return FaultyConsumer(broker, options)


hours = st.integers(0, 6)
item_ids = st.sampled_from("abcd")
items = st.builds(
    lambda item_id, hour, title, image: (
        item_id,
        {
            "item_id": item_id,
            "updated_at": f"2026-01-01T{hour:02}:00:00Z",
            "title": title,
            "image_uri": image,
        },
        0,
    ),
    item_ids,
    hours,
    st.sampled_from(["one", "two", None]),
    st.sampled_from(IMAGES),
)
tombstones = st.builds(lambda item_id, hour: (item_id, None, hour), item_ids, hours)
poison = st.builds(lambda value: ("p", value, 0), st.sampled_from(POISON))
events = st.builds(
    lambda number, hour: (
        "u",
        {
            "event_id": f"e{number}",
            "user_id": "u",
            "item_id": "a",
            "action": "click",
            "ts": f"2026-01-01T{hour:02}:00:00Z",
        },
        0,
    ),
    st.integers(0, 5),
    hours,
)
script = st.fixed_dictionaries(
    {
        "items": st.lists(
            st.tuples(st.integers(0, 2), st.one_of(items, items, items, tombstones, poison)),
            min_size=1,
            max_size=25,
        ),
        "events": st.lists(
            st.tuples(st.integers(0, 1), st.one_of(events, events, poison)), max_size=12
        ),
        "crashes": st.sets(st.integers(1, 60), max_size=8),
        "refused_commits": st.lists(st.booleans(), max_size=6),
        "rebalances": st.dictionaries(st.integers(2, 8), st.integers(1, 4), max_size=3),
        "batch_records": st.integers(1, 8),
        "poll_size": st.integers(1, 6),
    }
)


def fill(broker, topic, messages):
    for partition, (key, value, hour) in messages:
        body = json.dumps(value).encode() if isinstance(value, dict) else value
        time_ms = T1_MS + hour * HOUR_MS
        broker.send(topic, body, partition=partition, keys=[key.encode()], timestamp=time_ms)


def land_until_done(broker, lake, faults, script):
    config = KafkaConfig(bootstrap_servers="host:9092", batch_records=script["batch_records"])
    deaths = 0
    while True:
        try:
            return consume(
                config,
                lake,
                consumer_factory=lambda **options: faulty_consumer(
                    broker, faults, script["rebalances"], options
                ),
            ), deaths
        except Crash:
            deaths += 1


def state(lake) -> dict[str, pl.DataFrame]:
    return {
        table.name: lake.read(table).sort(table.key).drop("failed_at", strict=False)
        for table in TABLES
    }


@settings(
    max_examples=int(os.environ.get("TEST_SCRIPTS", "25")),
    deadline=None,
    derandomize="TEST_SCRIPTS" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(script=script)
def test_the_lake_ends_as_if_nothing_had_failed(new_fake_broker, script):
    broker, calm = new_fake_broker(), new_fake_broker()
    for each in (broker, calm):
        fill(each, "items", script["items"])
        fill(each, "events", script["events"])
    broker.poll_size = script["poll_size"]
    broker.commit_errors = [
        KafkaConnectionError("refused") if refused else None
        for refused in script["refused_commits"]
    ]
    with tempfile.TemporaryDirectory() as folder:
        faults = Faults(script["crashes"])
        report, _ = land_until_done(broker, FaultyLake(f"{folder}/faulty", faults), faults, script)
        consume(
            KafkaConfig(bootstrap_servers="host:9092"),
            Lake(f"{folder}/calm"),
            consumer_factory=calm,
        )
        expected, got = state(Lake(f"{folder}/calm")), state(Lake(f"{folder}/faulty"))
        for name, rows in expected.items():
            assert got[name].equals(rows), name
        assert {each.lag for each in report.partitions} <= {0}
        ends = {each: len(log) for each, log in broker.logs.items()}
        stands = {
            TopicPartition(each.topic, each.partition): each.position for each in report.partitions
        }
        assert stands == ends


@pytest.mark.parametrize("crash", range(1, 15))
def test_a_crash_at_every_single_moment_is_healed(new_fake_broker, tmp_path, crash):
    """One batch of items and one of events: before and after three writes, two, and two commits."""
    broker, faults = new_fake_broker(), Faults({crash})
    gif = {"item_id": "a", "updated_at": "2026-01-01T00:00:00Z", "image_uri": IMAGES[1]}
    event = {"event_id": "e", "user_id": "u", "item_id": "a", "action": "click"}
    fill(broker, "items", [(0, ("a", gif, 0)), (0, ("p", b"{", 0))])
    fill(broker, "events", [(0, ("u", event | {"ts": "2026-01-01T00:00:00Z"}, 0))])
    lake = FaultyLake(str(tmp_path), faults)
    script = {"batch_records": 100, "rebalances": {}}
    _, deaths = land_until_done(broker, lake, faults, script)
    assert deaths == 1
    assert [lake.read(table).height for table in TABLES] == [1, 1, 1, 1]
