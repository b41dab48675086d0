"""Tests for catalog/audit.py: a lake in order, and one fault at a time."""

import shutil
from collections import namedtuple
from datetime import UTC, datetime

import polars as pl
import pytest
from deltalake import write_deltalake
from kafka import TopicPartition

from catalog.audit import PartitionProgress, audit_lake, audit_sources, source_findings
from catalog.ingest.rows import item_frame
from catalog.kafka.config import KafkaConfig
from catalog.lake.embedding_failures import embedding_dead_letters
from catalog.lake.tables import EMBEDDINGS, EVENTS, MEDIA
from catalog.records import Item

START = datetime(2026, 1, 1, tzinfo=UTC)
Marks = namedtuple("Marks", "low high")


def items(*item_ids, image=None, deleted=False):
    made = [Item(item_id=item_id, updated_at=START, deleted=deleted) for item_id in item_ids]
    return item_frame(made, [image] * len(made))


def embeddings(items, version="v"):
    keys = items.select("item_id", "content_hash", model_version=pl.lit(version))
    missing = [
        pl.lit(None, EMBEDDINGS.schema[n]).alias(n) for n in EMBEDDINGS.schema if n not in keys
    ]
    return keys.with_columns(missing).select(EMBEDDINGS.schema.names())


def media(*hashes):
    return pl.DataFrame({"hash": hashes, "bytes": [b"1"] * len(hashes)}, schema=MEDIA.schema)


def told(lake):
    """What was found, as {name: (count, first, is_fault)}; a name found in two tables is a sum."""
    seen = {}
    for each in audit_lake(lake, model_version="v"):
        if each.count:
            assert each.name not in seen
            seen[each.name] = (each.count, each.first, each.is_fault)
    return seen


@pytest.fixture
def sound(lake):
    """Two living items that are embedded, one with an image, and a tombstone."""
    with_image = items("a", image="p")
    lake.insert_new(MEDIA, media("p"))
    lake.upsert_items(pl.concat([with_image, items("b"), items("gone", deleted=True)]))
    lake.insert_new(EMBEDDINGS, embeddings(pl.concat([with_image, items("b")])))
    return lake


def test_a_sound_lake_is_without_findings(sound, lake):
    assert told(sound) == {}
    assert {each.where for each in audit_lake(sound, model_version="v")} >= {"events", "media"}


def test_an_empty_lake_is_sound_and_stays_untouched(lake):
    assert told(lake) == {}
    assert set(lake.versions().values()) == {None}


def test_a_key_stored_twice_is_found_in_its_table(sound):
    write_deltalake(f"{sound.uri}/media", media("p"), mode="append")
    assert told(sound) == {"duplicate_keys": (1, ("p",), True)}


def test_rows_that_another_hand_took_away_are_found(sound):
    sound.delta(MEDIA).delete()
    found = told(sound)
    assert found.pop("dangling_media") == (1, ("a",), True)
    [(count, [first], is_fault)] = found.values()
    assert (count, is_fault) == (1, True)
    assert first.startswith("commit 2 DELETE 20")


def test_a_table_that_is_gone_is_found_by_what_was_made_from_it(sound):
    shutil.rmtree(f"{sound.uri}/items")
    assert told(sound)["table_lost"] == (2, ("item_versions", "embeddings"), True)


def test_keys_of_several_columns_are_compared_whole(sound):
    again = embeddings(items("b"))
    write_deltalake(f"{sound.uri}/embeddings", embeddings(items("b"), "w"), mode="append")
    assert told(sound) == {}
    write_deltalake(f"{sound.uri}/embeddings", again, mode="append")
    [(count, [first], _)] = told(sound).values()
    assert (count, first.split()[0], first.split()[-1]) == (1, "b", "v")


def test_an_item_without_its_image_is_a_fault_and_an_image_without_item_is_not(sound):
    sound.delete(MEDIA, media("p").select("hash"))
    sound.insert_new(MEDIA, media("x", "y"))
    assert told(sound) == {
        "dangling_media": (1, ("a",), True),
        "unreferenced_media": (2, ("x", "y"), False),
    }


def test_items_never_embedded_and_items_newer_than_their_embedding_are_told_apart(sound):
    sound.upsert_items(items("new"))
    changed = items("b").with_columns(
        updated_at=pl.lit(START.replace(year=2027)), content_hash=pl.lit("other")
    )
    sound.upsert_items(changed)
    assert told(sound) == {
        "missing_embeddings": (1, ("new",), True),
        "stale_embeddings": (1, ("b",), True),
    }


def test_an_item_that_the_version_failed_on_is_known_and_no_fault(sound):
    cut = items("cut")
    sound.upsert_items(cut)
    sound.put_dead_letters(
        embedding_dead_letters(cut, {"cut": "cut off"}, model_version="v", failed_at=START)
    )
    assert told(sound) == {"failed_embeddings": (1, ("cut",), False)}


def test_embeddings_of_other_contents_and_of_the_deleted_are_no_orphans(sound):
    past = pl.concat([items("b").with_columns(content_hash=pl.lit("earlier"))])
    tombstone = items("gone").with_columns(content_hash=pl.lit("then"))
    sound.insert_new(EMBEDDINGS, embeddings(pl.concat([past, tombstone])))
    assert told(sound) == {}
    sound.insert_new(EMBEDDINGS, embeddings(items("never")))
    [(name, (count, [first], is_fault))] = told(sound).items()
    assert (name, count, first.split()[0], is_fault) == ("orphaned_embeddings", 1, "never", True)


def test_only_the_first_ids_are_named_in_order(sound):
    sound.upsert_items(items(*(f"i{n}" for n in range(9, -1, -1))))
    assert told(sound)["missing_embeddings"] == (10, ("i0", "i1", "i2", "i3", "i4"), True)


class FakeConsumer:
    """Knows the offsets that its partitions hold."""

    def __init__(self, marks):
        self.marks = {TopicPartition(*at): Marks(*mark) for at, mark in marks.items()}

    def __call__(self, **options):
        self.options = options
        return self

    def partitions_for_topic(self, topic):
        return {at.partition for at in self.marks if at.topic == topic} or None

    def assign(self, partitions):
        self.assigned = partitions

    def beginning_offsets(self, partitions):
        return {at: self.marks[at].low for at in partitions}

    def end_offsets(self, partitions):
        return {at: self.marks[at].high for at in partitions}

    def seek(self, partition, offset):
        assert self.marks[partition].low <= offset

    def highwater(self, partition):
        return self.marks[partition].high

    def close(self, *, autocommit):
        assert not autocommit


def test_positions_are_those_that_the_lake_recorded_for_the_group(lake):
    lake.upsert_items(items("a"), **recorded("night/items/0", 7))
    lake.upsert_items(items("b"), **recorded("other/items/1", 3))
    event = pl.DataFrame({"event_id": ["e"]}).with_columns(
        pl.lit(None, dtype).alias(name)
        for name, dtype in EVENTS.schema.items()
        if name != "event_id"
    )
    lake.upsert_events(event, **recorded("night/events/0", 5))
    consumer = FakeConsumer({("items", 0): (0, 9), ("items", 1): (2, 4), ("events", 0): (5, 5)})
    config = KafkaConfig(bootstrap_servers="host:9092", group_id="night")
    positions = audit_sources(config, lake, consumer_factory=consumer)
    assert consumer.options["group_id"] is None
    assert [(p.topic, p.partition, p.landed, p.low, p.high) for p in positions] == [
        ("events", 0, 5, 5, 5),
        ("items", 0, 7, 0, 9),
        ("items", 1, None, 2, 4),
    ]


def recorded(app_id, number):
    return {"transactions": {app_id: number}}


@pytest.mark.parametrize(
    ("landed", "low", "high", "expected"),
    [
        (7, 0, 9, {"waiting": 2}),
        (9, 0, 9, {}),
        (None, 2, 4, {"waiting": 2}),
        (3, 5, 9, {"waiting": 4, "expired": 2}),
        (12, 0, 9, {"ahead": 3}),
        (0, 0, 0, {}),
    ],
)
def test_lost_messages_and_replaced_logs_are_faults_and_waiting_ones_are_not(
    landed, low, high, expected
):
    at = PartitionProgress(topic="items", partition=1, landed=landed, low=low, high=high)
    seen = [each for each in source_findings([at]) if each.count]
    assert {each.name.removeprefix("source_"): each.count for each in seen} == expected
    assert all(each.where == "items/1" for each in seen)
    assert {each.name for each in seen if not each.is_fault} <= {"source_waiting"}
