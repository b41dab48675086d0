"""Tests for catalog/lake/lake.py, on real Delta tables in a temporary folder."""

from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from time import sleep

import msgspec
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from polars.testing import assert_frame_equal

from catalog.ingest.rows import event_frame, item_frame
from catalog.lake.tables import (
    DEAD_LETTERS,
    EMBEDDINGS,
    EVENTS,
    ITEM_VERSIONS,
    ITEMS,
    MEDIA,
    TABLES,
)
from catalog.lake.upsert import UpsertCounts
from catalog.records import Event, Item

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = Event(event_id="e", user_id="u", item_id="a", action="click", ts=START)


def record(item_id, title, hour):
    updated_at = START + timedelta(hours=hour)
    return Item(item_id=item_id, updated_at=updated_at, created_at=START, title=title)


def items(**titles_and_hours):
    records = [record(item_id, *rest) for item_id, rest in titles_and_hours.items()]
    return item_frame(records, [None] * len(records))


def media(**images):
    return pl.DataFrame(list(images.items()), schema=MEDIA.schema, orient="row")


def letter(offset, value, reason="bad", hour=0):
    values = (
        "items",
        0,
        offset,
        "decode",
        reason,
        None,
        value,
        START + timedelta(hours=hour),
        None,
    )
    return pl.DataFrame([values], schema=DEAD_LETTERS.schema, orient="row")


def titles(lake):
    return dict(lake.read(ITEMS, ["item_id", "title"]).rows())


def test_a_table_nobody_wrote_reads_as_empty(lake):
    assert lake.read(EVENTS).schema == EVENTS.schema
    assert lake.read(ITEMS, ["item_id"]).shape == (0, 1)
    assert lake.versions() == dict.fromkeys(TABLES)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_rows_come_back_with_the_types_they_went_in_with(lake, table):
    nulls = pl.DataFrame({name: [None] for name in table.schema}, schema=table.schema)
    row = nulls.with_columns(pl.lit(1).cast(table.schema[name]).alias(name) for name in table.key)
    assert lake.insert_new(table, row) == 1
    assert_frame_equal(lake.read(table), row)


def test_vectors_come_back_bit_for_bit(lake):
    row = ("a", "h", "v1", [0.1, -0.2], "direct", 0.25, 0)
    embedding = pl.DataFrame([row], schema=EMBEDDINGS.schema, orient="row")
    lake.insert_new(EMBEDDINGS, embedding)
    assert_frame_equal(lake.read(EMBEDDINGS), embedding, check_exact=True)


def test_upsert_stores_the_newest_of_every_item(lake):
    assert lake.upsert_items(items(a=("one", 1), b=("one", 1))) == UpsertCounts(inserted=2)
    counts = lake.upsert_items(items(a=("two", 2), b=("zero", 0), c=("one", 1)))
    assert counts == UpsertCounts(inserted=1, updated=1, stale=1)
    assert titles(lake) == {"a": "two", "b": "one", "c": "one"}


def test_an_upsert_that_changes_nothing_makes_no_commit(lake):
    lake.upsert_items(items(a=("one", 1)))
    version = lake.version(ITEMS)
    assert lake.upsert_items(items(a=("one", 1))) == UpsertCounts(unchanged=1)
    assert lake.upsert_items(items(a=("zero", 0))) == UpsertCounts(stale=1)
    assert lake.upsert_items(items()) == UpsertCounts()
    assert lake.version(ITEMS) == version


def test_every_changing_call_makes_one_commit(lake):
    lake.upsert_items(items(a=("one", 1)))
    before = lake.version(ITEMS)
    lake.upsert_items(items(a=("two", 2), b=("one", 1)))
    assert lake.version(ITEMS) == before + 1


def test_insert_skips_keys_that_are_stored_and_takes_the_first_of_a_batch(lake):
    assert lake.insert_new(MEDIA, media(a=b"1")) == 1
    doubled = pl.concat([media(a=b"2", b=b"3"), media(b=b"4")])
    assert lake.insert_new(MEDIA, doubled) == 1
    assert dict(lake.read(MEDIA).rows()) == {"a": b"1", "b": b"3"}
    version = lake.version(MEDIA)
    assert lake.insert_new(MEDIA, doubled) == 0
    assert lake.version(MEDIA) == version


def test_a_dead_letter_is_replaced_only_when_message_or_reason_differ(lake):
    assert lake.put_dead_letters(pl.concat([letter(0, b"x"), letter(1, b"y")])) == 2
    version = lake.version(DEAD_LETTERS)
    assert lake.put_dead_letters(letter(0, b"x", hour=9)) == 0
    assert lake.version(DEAD_LETTERS) == version
    assert lake.put_dead_letters(letter(0, b"z")) == 1
    assert lake.put_dead_letters(letter(1, b"y", reason="worse")) == 1
    stored = lake.read(DEAD_LETTERS, ["offset", "value", "reason"]).sort("offset")
    assert stored.rows() == [(0, b"z", "bad"), (1, b"y", "worse")]


def test_the_last_transaction_of_each_application_is_remembered(lake):
    assert lake.last_transaction(EVENTS, "landing") is None
    lake.upsert_events(EVENTS.empty(), transactions={"landing": 7, "third": 3})
    lake.upsert_events(EVENTS.empty(), transactions={"other": 1})
    lake.upsert_items(items(a=("one", 1)), transactions={"landing": 8})
    lake.upsert_items(items(a=("two", 2)), transactions={"landing": 9})  # by a merge
    assert lake.last_transaction(EVENTS, "landing") == 7
    assert lake.last_transaction(EVENTS, "third") == 3
    assert lake.last_transaction(ITEMS, "landing") == 9


def test_a_write_that_changes_nothing_still_records_its_transactions(lake):
    lake.upsert_items(items(), transactions={"landing": 7})
    lake.upsert_items(items(a=("one", 1)), transactions={"landing": 8})
    lake.upsert_items(items(a=("one", 1)), transactions={"landing": 9})
    assert lake.last_transaction(ITEMS, "landing") == 9
    lake.upsert_events(EVENTS.empty(), transactions={"landing": 3})
    assert lake.last_transaction(EVENTS, "landing") == 3


def test_a_write_whose_transactions_are_all_recorded_changes_nothing(lake):
    lake.upsert_items(items(a=("one", 1)), transactions={"p0": 7, "p1": 2})
    before = lake.version(ITEMS)
    replay = lake.upsert_items(items(a=("two", 2)), transactions={"p0": 7, "p1": 1})
    assert (replay, lake.version(ITEMS), titles(lake)) == (UpsertCounts(), before, {"a": "one"})
    lake.upsert_items(items(a=("two", 2)), transactions={"p0": 7, "p1": 3})  # one is new
    assert titles(lake) == {"a": "two"}
    lake.upsert_items(items(a=("three", 3)), transactions={"p0": 4, "p1": 4})
    assert lake.last_transaction(ITEMS, "p0") == 7  # a late writer does not set it back

    lake.upsert_events(event_frame([EVENT]), transactions={"p0": 7})
    later = msgspec.structs.replace(EVENT, event_id="f")
    assert lake.upsert_events(event_frame([later]), transactions={"p0": 6}) == UpsertCounts()
    assert lake.read(EVENTS)["event_id"].to_list() == ["e"]


def test_of_one_event_the_later_form_is_stored_in_whatever_order_they_come(lake):
    later = msgspec.structs.replace(EVENT, ts=START + timedelta(hours=1), action="purchase")
    assert lake.upsert_events(event_frame([EVENT])) == UpsertCounts(inserted=1)
    assert lake.upsert_events(event_frame([later, EVENT])) == UpsertCounts(updated=1)
    version = lake.version(EVENTS)
    assert lake.upsert_events(event_frame([EVENT])) == UpsertCounts(stale=1)
    assert lake.upsert_events(event_frame([later])) == UpsertCounts(unchanged=1)
    assert lake.version(EVENTS) == version
    assert lake.read(EVENTS)["action"].to_list() == ["purchase"]


def test_a_transaction_may_be_set_back(lake):
    lake.upsert_items(items(a=("one", 1)), transactions={"p0": 7})
    lake.set_transactions(ITEMS, {"p0": 0})
    assert lake.last_transaction(ITEMS, "p0") == 0
    lake.upsert_items(items(a=("two", 2)), transactions={"p0": 5})
    assert titles(lake) == {"a": "two"}


def test_writers_side_by_side_store_no_key_twice(lake):
    barrier = Barrier(4)
    inserted = []

    def write():
        barrier.wait()
        inserted.append(lake.insert_new(MEDIA, media(**{f"k{n}": b"1" for n in range(20)})))

    threads = [Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(inserted) == [0, 0, 0, 20]
    assert lake.read(MEDIA, ["hash"]).height == 20


def test_delete_takes_exactly_the_rows_that_equal_one_in_every_column_given(lake):
    assert lake.delete(DEAD_LETTERS, letter(0, b"x").select(DEAD_LETTERS.key)) == 0
    assert lake.version(DEAD_LETTERS) is None
    lake.put_dead_letters(pl.concat([letter(0, b"x"), letter(1, None), letter(2, b"z")]))
    version = lake.version(DEAD_LETTERS)
    assert lake.delete(DEAD_LETTERS, letter(0, b"other").drop("timestamp")) == 0
    assert lake.version(DEAD_LETTERS) == version
    doomed = pl.concat([letter(1, None), letter(1, None), letter(2, b"other"), letter(9, b"x")])
    assert lake.delete(DEAD_LETTERS, doomed) == 1
    assert sorted(lake.read(DEAD_LETTERS)["offset"]) == [0, 2]
    assert lake.version(DEAD_LETTERS) == version + 1
    assert lake.delete(DEAD_LETTERS, letter(2, b"any").select(DEAD_LETTERS.key)) == 1


def test_an_id_full_of_quotes_is_deleted_like_any_other(lake):
    lake.insert_new(MEDIA, media(**{'it\'s "a"': b"1", "x' OR '1'='1": b"2", "b": b"3"}))
    assert lake.delete(MEDIA, pl.DataFrame({"hash": ['it\'s "a"', "x' OR '1'='1"]})) == 2
    assert lake.read(MEDIA)["hash"].to_list() == ["b"]


def test_a_table_reads_as_it_was_at_any_moment_since_it_was_made(lake):
    long_ago, between = START, []
    for n in range(3):
        lake.upsert_items(items(a=(f"t{n}", n)))
        sleep(0.02)  # commits are dated by their files, whose clock lags some milliseconds
        between.append(datetime.now(UTC))
        sleep(0.02)
    assert lake.read(ITEMS, as_of=long_ago).is_empty()
    seen = [lake.read(ITEMS, ["title"], as_of=moment)["title"].to_list() for moment in between]
    assert seen == [["t0"], ["t1"], ["t2"]]
    assert lake.read(EVENTS, as_of=long_ago).is_empty()
    with pytest.raises(ValueError, match="must carry a time zone"):
        lake.read(ITEMS, as_of=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_table_of_an_older_release_gets_its_new_columns_with_the_first_write(lake):
    older = letter(0, b"x").drop("timestamp")
    write_deltalake(f"{lake.uri}/dead_letters", older)
    assert_frame_equal(lake.read(DEAD_LETTERS), letter(0, b"x"))
    lake.put_dead_letters(letter(1, b"y").with_columns(timestamp=pl.lit(START)))
    lake.put_dead_letters(letter(0, b"x", reason="worse"))  # by a merge
    stored = lake.read(DEAD_LETTERS, ["offset", "reason", "timestamp"]).sort("offset")
    assert stored.rows() == [(0, "worse", None), (1, "bad", START)]


def landings(lake):
    return dict(lake.scan_landed(EVENTS).select("event_id", "landed_at").collect().rows())


def test_an_event_keeps_when_it_landed_first_and_another_form_of_it_lands_anew(lake):
    first, second = START + timedelta(days=1), START + timedelta(days=2)
    lake.upsert_events(event_frame([EVENT]), landed_at=first)
    lake.upsert_events(event_frame([EVENT]), landed_at=second)
    assert landings(lake) == {"e": first}
    corrected = lake.read(EVENTS).with_columns(value=pl.lit(3.0))
    lake.replace(EVENTS, corrected)  # a correction is no landing
    assert landings(lake) == {"e": first}
    later = msgspec.structs.replace(EVENT, ts=START + timedelta(hours=1))
    lake.upsert_events(event_frame([later]), landed_at=second)
    assert landings(lake) == {"e": second}


def test_events_of_an_older_lake_have_no_landing(lake):
    old = DeltaTable.create(f"{lake.uri}/events", schema=EVENTS.empty().to_arrow().schema)
    write_deltalake(old, event_frame([EVENT]), mode="append")
    assert landings(lake) == {"e": None}
    later = msgspec.structs.replace(EVENT, event_id="f")
    lake.upsert_events(event_frame([later]), landed_at=START)
    assert landings(lake) == {"e": None, "f": START}
    assert lake.read(EVENTS).schema == EVENTS.schema


def test_every_record_of_an_item_is_kept_as_it_described_it(lake):
    def described(hour, category, price):
        updated_at = START + timedelta(hours=hour)
        item = {"item_id": "a", "updated_at": updated_at, "category": category}
        return Item(**item, attributes={"price": price} if price else {})

    sent = [described(1, "x", 5), described(3, "y", None), described(2, "x", "free")]
    for record in [*sent, sent[0]]:
        lake.upsert_items(item_frame([record], [None]), landed_at=START)
    gone = Item(item_id="a", updated_at=START + timedelta(hours=4), deleted=True)
    lake.upsert_items(item_frame([gone], [None]))
    rows = lake.read(ITEM_VERSIONS).sort("updated_at").select("category", "price", "landed_at")
    assert rows.rows() == [("x", 5.0, START), ("x", None, START), ("y", None, START)]
