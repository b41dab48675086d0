"""Ten thousand messages, many malformed: all are landed or kept with a reason, none lost."""

import json
import random

from bench.malformed import HARMLESS, malformed
from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.lake.tables import DEAD_LETTERS, ITEMS

T1 = "2026-01-01T00:00:00Z"
CONFIG = KafkaConfig(bootstrap_servers="host:9092", batch_records=3_000)
NUM_MESSAGES = 10_000


def good(item_id, **fields):
    return json.dumps({"item_id": item_id, "updated_at": T1, "title": "t"} | fields).encode()


def test_every_malformed_kind_is_kept_with_a_reason_and_its_stage(lake, fake_broker):
    kinds = dict(malformed())
    assert len(kinds) >= 40
    fake_broker.send("items", *kinds.values())
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    letters = lake.read(DEAD_LETTERS).sort("offset")
    assert report.landed.consumed == len(kinds)
    missing = [name for n, name in enumerate(kinds) if n not in set(letters["offset"])]
    assert not missing
    assert letters["value"].to_list() == list(kinds.values())
    assert all(letters["reason"])
    assert set(letters["stage"]) == {"decode", "validate", "media"}
    assert lake.read(ITEMS).is_empty()


def test_what_looks_wrong_and_is_right_is_landed_as_it_came(lake, fake_broker):
    sent = {name: {"item_id": name, "updated_at": T1} | each for name, each in HARMLESS.items()}
    fake_broker.send("items", *(json.dumps(fields).encode() for fields in sent.values()))
    consume(CONFIG, lake, consumer_factory=fake_broker)
    assert lake.read(DEAD_LETTERS)["reason"].to_list() == []
    landed = {row["item_id"]: row for row in lake.read(ITEMS).iter_rows(named=True)}
    assert landed.keys() == sent.keys()
    for name, fields in sent.items():
        assert landed[name]["title"] == fields.get("title"), name
        assert json.loads(landed[name]["attributes"]) == fields.get("attributes", {}), name
        assert landed[name]["tags"] == sorted(set(fields.get("tags", []))), name


def test_none_of_ten_thousand_is_lost(lake, fake_broker):
    rng = random.Random(0)
    kinds = [value for name, value in malformed() if name != "text of 10 MB"]
    bad = {n: rng.choice(kinds) for n in rng.sample(range(NUM_MESSAGES), NUM_MESSAGES // 10)}
    values = [bad.get(n, good(f"i{n}")) for n in range(NUM_MESSAGES)]
    for partition in range(2):
        fake_broker.send("items", *values[partition::2], partition=partition)
    report = consume(CONFIG, lake, consumer_factory=fake_broker)
    assert report.landed.consumed == NUM_MESSAGES
    assert set(lake.read(ITEMS)["item_id"]) == {
        f"i{n}" for n in range(NUM_MESSAGES) if n not in bad
    }
    letters = lake.read(DEAD_LETTERS)
    kept = {2 * each["offset"] + each["partition"]: each["value"] for each in letters.to_dicts()}
    assert kept == bad
