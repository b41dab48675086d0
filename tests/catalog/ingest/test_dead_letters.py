"""Tests for dead_letters.py: letters that are landed again, and letters that stay."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.ingest.dead_letters import LetterFilter, ReplayReport, drop, replay
from catalog.lake.dead_letter_kinds import kind_of
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS, MEDIA
from catalog.lake.upsert import UpsertCounts

FAILED = datetime(2026, 1, 2, tzinfo=UTC)
NOW = datetime(2026, 1, 9, tzinfo=UTC)
SENT = datetime(2026, 1, 1, tzinfo=UTC)
T1 = "2026-01-01T00:00:00Z"
ALL = LetterFilter()


def letters(*rows):
    """topic, offset, stage, value and, if they matter, key, failed_at and timestamp."""
    names = ("topic", "offset", "stage", "value", "key", "failed_at", "timestamp")
    defaults = {"partition": 0, "reason": "was wrong", "failed_at": FAILED}
    records = [defaults | dict(zip(names, row, strict=False)) for row in rows]
    return pl.DataFrame(records, schema=DEAD_LETTERS.schema)


def item(item_id, **fields):
    return json.dumps({"item_id": item_id, "updated_at": T1} | fields).encode()


def event(event_id, **fields):
    known = {"event_id": event_id, "user_id": "u", "item_id": "a", "action": "click", "ts": T1}
    return json.dumps(known | fields).encode()


def left(lake):
    stored = lake.read(DEAD_LETTERS, ["topic", "offset", "reason"]).sort("topic", "offset")
    return stored.rows()


def test_what_is_right_by_now_lands_and_its_letter_goes(lake):
    lake.put_dead_letters(
        letters(
            ("items", 0, "validate", item("a")),
            ("items", 1, "validate", item("b", title=7)),
            ("events", 0, "validate", event("e")),
            ("events", 1, "decode", b"{"),
        )
    )
    report = replay(lake, ALL)
    assert (report.landed, report.rejected) == (2, 2)
    assert report.landing.items == UpsertCounts(inserted=1)
    assert lake.read(EVENTS)["event_id"].to_list() == ["e"]
    [(*first, decode), (*second, validate)] = left(lake)
    assert (first, second) == (["events", 1], ["items", 1])
    assert "not JSON" in decode
    assert "Expected `str | null`, got `int`" in validate


def test_a_letter_that_is_still_wrong_keeps_its_bytes_and_its_time_as_the_reason_changes(lake):
    lake.put_dead_letters(letters(("items", 5, "media", b"{", b"k\xff", FAILED, SENT)))
    began = datetime.now(UTC)
    replay(lake, ALL)
    [letter] = lake.read(DEAD_LETTERS).to_dicts()
    assert (letter["value"], letter["key"]) == (b"{", b"k\xff")
    assert (letter["stage"], letter["timestamp"]) == ("decode", SENT)
    assert letter["failed_at"] >= began
    version = lake.version(DEAD_LETTERS)
    assert replay(lake, ALL).rejected == 1
    assert lake.version(DEAD_LETTERS) == version


def test_an_older_record_that_is_replayed_does_not_undo_a_newer_one(lake):
    lake.put_dead_letters(letters(("items", 0, "validate", item("a", title="old"))))
    newer = item("a", title="new", updated_at="2026-01-05T00:00:00Z")
    lake.put_dead_letters(letters(("items", 1, "validate", newer)))
    replay(lake, LetterFilter(offset=1))
    assert replay(lake, ALL).landed == 1
    assert lake.read(ITEMS)["title"].to_list() == ["new"]
    assert left(lake) == []


def test_a_tombstone_is_replayed_with_the_time_that_the_broker_gave_it(lake):
    lake.put_dead_letters(letters(("items", 0, "validate", item("a", updated_at=T1))))
    replay(lake, ALL)
    lake.put_dead_letters(
        letters(
            ("items", 1, "validate", None, b"a", FAILED, SENT - timedelta(days=1)),
            ("items", 2, "validate", None, b"a", FAILED, None),
        )
    )
    report = replay(lake, ALL)
    assert (report.landed, report.rejected) == (1, 1)
    assert not lake.read(ITEMS)["deleted"].any()
    assert [offset for _, offset, _ in left(lake)] == [2]  # it has no time, so it cannot be dated


def test_only_letters_of_files_read_images_below_the_folder(lake, tmp_path, image):
    (tmp_path / "a.png").write_bytes(image)
    lake.put_dead_letters(
        letters(
            ("items.jsonl", 0, "media", item("a", image_uri="a.png")),
            ("items", 0, "media", item("b", image_uri="a.png")),
        )
    )
    report = replay(lake, ALL, base_dir=tmp_path)
    assert (report.landed, report.rejected, report.landing.images) == (1, 1, 1)
    assert lake.read(MEDIA)["bytes"].to_list() == [image]
    assert [topic for topic, *_ in left(lake)] == ["items"]


def test_an_embed_letter_is_cleared_and_an_unknown_topic_left_alone(lake):
    lake.put_dead_letters(
        letters(("embed/v/a", 0, "embed", b"h", b"a"), ("prices", 0, "validate", item("a")))
    )
    assert replay(lake, ALL) == ReplayReport(to_embed=1, unknown=1)
    assert left(lake) == [("prices", 0, "was wrong")]


def test_a_crash_while_landing_loses_no_letter(lake, monkeypatch):
    lake.put_dead_letters(letters(("items", 0, "validate", item("a"))))
    before = left(lake)

    def crash(self, rows, **options):
        raise OSError("disk gone")

    monkeypatch.setattr(Lake, "upsert_items", crash)
    with pytest.raises(OSError, match="disk gone"):
        replay(lake, ALL)
    assert left(lake) == before


def test_a_letter_rewritten_while_it_is_replayed_stays(lake, monkeypatch):
    lake.put_dead_letters(letters(("items.jsonl", 0, "validate", item("a"))))
    land = Lake.upsert_items

    def edited_meanwhile(self, rows, **options):
        Lake(lake.uri).put_dead_letters(letters(("items.jsonl", 0, "decode", b"{", None, NOW)))
        return land(self, rows, **options)

    monkeypatch.setattr(Lake, "upsert_items", edited_meanwhile)
    replay(lake, ALL)
    assert lake.read(DEAD_LETTERS)["value"].to_list() == [b"{"]


def test_large_letters_are_replayed_a_few_at_a_time(lake, monkeypatch):
    values = [item(f"i{n}") for n in range(5)]
    monkeypatch.setattr("catalog.ingest.dead_letters.BATCH_BYTES", 2 * len(values[0]) + 1)
    lake.put_dead_letters(letters(*(("items", n, "validate", v) for n, v in enumerate(values))))
    told = []
    assert replay(lake, ALL, progress=told.append).landed == 5
    assert told == [2, 2, 1]


def test_many_letters_are_replayed_in_batches(lake, monkeypatch):
    monkeypatch.setattr("catalog.ingest.dead_letters.BATCH_LETTERS", 2)
    lake.put_dead_letters(letters(*(("items", n, "validate", item(f"i{n}")) for n in range(5))))
    told = []
    assert replay(lake, ALL, progress=told.append).landed == 5
    assert told == [2, 2, 1]
    assert left(lake) == []


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [0, 1, 2]),
        ({"stage": "media"}, [1]),
        ({"topic": "events"}, [2]),
        ({"topic": "items", "partition": 0, "offset": 0}, [0]),
        ({"partition": 1}, []),
        ({"since": FAILED + timedelta(hours=1)}, [2]),
        ({"since": FAILED}, [0, 1, 2]),
    ],
)
def test_a_filter_takes_what_agrees_with_all_of_it(lake, chosen, expected):
    lake.put_dead_letters(
        letters(
            ("items", 0, "validate", b"0"),
            ("items", 1, "media", b"1"),
            ("events", 2, "decode", b"2", None, NOW),
        )
    )
    meant = LetterFilter(**chosen)
    assert meant.matching(lake.scan(DEAD_LETTERS)).collect()["offset"].sort().to_list() == expected
    assert drop(lake, meant) == len(expected)
    assert {offset for _, offset, _ in left(lake)} == {0, 1, 2} - set(expected)


def test_a_stage_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="one of decode, validate, media, embed, got 'index'"):
        LetterFilter(stage="index")


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="must carry a time zone, got 2026-01-01"):
        LetterFilter(since=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("topic", "stage", "kind"),
    [
        ("items", "decode", "items"),
        ("items/part-1.parquet", "media", "items"),
        ("movies.csv", "validate", "items"),
        ("events-2026.jsonl", "validate", "events"),
        ("ratings.csv", "validate", "events"),
        ("interactions.parquet", "validate", "events"),
        ("embed/v/items", "embed", "embed"),
        ("embed/v/a", "validate", None),
        ("prices", "decode", None),
    ],
)
def test_the_topic_tells_what_a_letter_holds(topic, stage, kind):
    assert kind_of(topic, stage, item_topic="items", event_topic="events") == kind


def test_topics_of_other_names_may_be_told():
    assert kind_of("shop.goods", "decode", item_topic="shop.goods", event_topic="e") == "items"
    assert kind_of("shop.log", "decode", item_topic="items", event_topic="shop.log") == "events"
