"""A landing is killed with SIGKILL, started again, and ends as one that was never killed.

Every numbered moment of `killed_landing.py` is a test of its own; besides, processes are killed at
random moments, four by default, as many as `TEST_KILLS` says, and 200 by `-m integration`.
"""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS, MEDIA

LANDING = Path(__file__).with_name("killed_landing.py")
ROOT = LANDING.parents[3]
GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
TABLES = (ITEMS, EVENTS, MEDIA, DEAD_LETTERS)
DEFAULT_KILLS = int(os.environ.get("TEST_KILLS", "4"))


def messages(seed, *, count):
    """(topic, key, value) of edits, repeats, tombstones, images, poison and events."""
    rng = random.Random(seed)
    for _ in range(count):
        item_id = f"i{rng.randrange(count // 3)}"
        hour = f"2026-01-{rng.randrange(1, 28):02}T{rng.randrange(24):02}:00:00Z"
        fields = {"item_id": item_id, "updated_at": hour, "title": f"t{rng.randrange(9)}"}
        kind = rng.random()
        if kind < 0.05:
            yield "items", item_id, None
        elif kind < 0.12:
            yield "items", item_id, rng.choice([b"{", b"\xff", b"null", b'{"item_id": 1}'])
        elif kind < 0.2:
            yield "items", item_id, fields | {"image_uri": GIF}
        elif kind < 0.65:
            yield "items", item_id, fields
        else:
            event = {
                "event_id": f"e{rng.randrange(count // 2)}",
                "user_id": "u",
                "item_id": item_id,
            }
            yield "events", "u", event | {"action": "click", "ts": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def filled(broker):
    """The names of an item topic and an event topic that hold the messages."""
    name = uuid.uuid4().hex[:8]
    topics = {"items": f"items-{name}", "events": f"events-{name}"}
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics([NewTopic(topic, 2, 1) for topic in topics.values()])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker)
    for topic, key, value in messages(7, count=600):
        body = json.dumps(value).encode() if isinstance(value, dict) else value
        producer.send(topics[topic], key=key.encode(), value=body)
    producer.close()
    return topics["items"], topics["events"]


@pytest.fixture(scope="module")
def uninterrupted(broker, filled, tmp_path_factory):
    """The tables of a landing that nobody disturbed, in another number of batches."""
    lake = Lake(str(tmp_path_factory.mktemp("calm")))
    config = KafkaConfig(
        bootstrap_servers=broker,
        group_id=f"calm-{filled[0]}",
        item_topic=filled[0],
        event_topic=filled[1],
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    report = consume(config, lake, timeout_s=60.0)
    assert report.landed.consumed == 600
    return state(lake)


def state(lake):
    return {
        table.name: lake.read(table).sort(table.key).drop("failed_at", strict=False)
        for table in TABLES
    }


def start(lake, broker, filled, *, crash_at=0):
    return subprocess.Popen(
        [sys.executable, str(LANDING), str(lake), broker, *filled],
        env=os.environ | {"PONDER_CRASH_AT": str(crash_at), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def assert_equal(lake, expected):
    for name, rows in state(Lake(str(lake))).items():
        assert rows.equals(expected[name]), name


def test_killed_at_one_numbered_moment_after_the_other(broker, filled, uninterrupted, tmp_path):
    """Each life is one moment longer than the last, so the landing dies at every number it has."""
    deaths = 0
    while True:
        process = start(tmp_path, broker, filled, crash_at=deaths + 1)
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err.decode()
        deaths += 1
    assert deaths >= 10
    assert int(out.split()[-1]) <= deaths
    assert_equal(tmp_path, uninterrupted)


@pytest.fixture(scope="module")
def landing_s(broker, filled, tmp_path_factory):
    """How long a landing takes from its begin to its end, in a process of its own."""
    process = start(tmp_path_factory.mktemp("timed"), broker, filled)
    process.stdout.readline()
    began = time.monotonic()
    process.communicate(timeout=60)
    return time.monotonic() - began


def killed_at_random(broker, filled, uninterrupted, folder, *, kills, seed, within_s):
    """How many processes were killed in mid-landing, and on how many lakes.

    A lake's landing is begun again and again until one lives to its end; then comes the next lake.
    """
    rng = random.Random(seed)
    done = lakes = 0
    while done < kills:
        lake = folder / f"lake{lakes}"
        lakes += 1
        while True:
            process = start(lake, broker, filled)
            if done < kills:
                process.stdout.readline()
                time.sleep(rng.uniform(0, within_s))
                process.kill()
            _, err = process.communicate(timeout=60)
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, err.decode()
            done += 1
        assert_equal(lake, uninterrupted)
    return done, lakes


def test_killed_at_random_moments(broker, filled, uninterrupted, landing_s, tmp_path):
    kills, _ = killed_at_random(
        broker,
        filled,
        uninterrupted,
        tmp_path,
        kills=DEFAULT_KILLS,
        seed=1,
        within_s=landing_s,
    )
    assert kills == DEFAULT_KILLS


@pytest.mark.integration
def test_killed_at_every_numbered_moment_of_a_whole_landing(
    broker, filled, uninterrupted, tmp_path
):
    for moment in itertools.count(1):
        lake = tmp_path / f"lake{moment}"
        process = start(lake, broker, filled, crash_at=moment)
        process.communicate(timeout=60)
        if process.returncode == 0:  # the timing of the fetches decides how many there are
            break
        assert process.returncode == -signal.SIGKILL
        restarted = start(lake, broker, filled)
        restarted.communicate(timeout=60)
        assert restarted.returncode == 0
        assert_equal(lake, uninterrupted)
    print(f"killed at {moment - 1} numbered moments, each healed")  # noqa: T201
    assert moment > 40


@pytest.mark.integration
def test_killed_at_200_random_moments(broker, filled, uninterrupted, landing_s, tmp_path):
    kills, lakes = killed_at_random(
        broker, filled, uninterrupted, tmp_path, kills=200, seed=2, within_s=landing_s
    )
    print(f"{kills} processes killed, {lakes} lakes, each equal to the uninterrupted one")  # noqa: T201
    assert kills == 200
