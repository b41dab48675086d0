"""Tests for upsert.py: a batch against what is stored, then any order of deliveries."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.ingest.rows import event_frame, item_frame
from catalog.lake.tables import EVENTS, ITEMS
from catalog.lake.upsert import UpsertCounts, plan_events, plan_upsert
from catalog.records import Event, Item

START = datetime(2026, 1, 1, tzinfo=UTC)


def record(item_id, hour, title=None, *, created_at=START, **fields):
    updated_at = START + timedelta(hours=hour)
    return Item(
        item_id=item_id, updated_at=updated_at, created_at=created_at, title=title, **fields
    )


def rows(*items):
    return item_frame(items, [None] * len(items))


def test_each_fate_of_an_item_is_counted_once():
    stored = rows(
        record("edited", 1, "old"),
        record("gone", 1, "old"),
        record("late", 5, "new"),
        record("same", 1, "same"),
    )
    batch = rows(
        record("edited", 2, "middle"),
        record("edited", 3, "new"),
        record("gone", 2, deleted=True),
        record("late", 4, "old"),
        record("new", 1, "new"),
        record("same", 1, "same"),
        record("unheard-of", 1, deleted=True),
    )
    upsert = plan_upsert(batch, stored)
    assert upsert.counts == UpsertCounts(inserted=1, updated=1, deleted=2, unchanged=1, stale=1)
    written = upsert.rows.select("item_id", "title", "deleted").rows()
    assert written == [
        ("edited", "new", False),
        ("gone", None, True),
        ("new", "new", False),
        ("unheard-of", None, True),
    ]


def test_a_newer_time_with_equal_content_is_a_change():
    # Otherwise an edit dated between the two records, delivered last, would win over the newest.
    upsert = plan_upsert(rows(record("a", 2, "x")), rows(record("a", 1, "x")))
    assert upsert.counts == UpsertCounts(updated=1)


def test_a_tombstone_wins_over_content_of_the_same_instant():
    live = rows(record("a", 1, "x", created_at=None))
    dead = rows(record("a", 1, deleted=True))
    assert plan_upsert(dead, live).counts == UpsertCounts(deleted=1)
    assert plan_upsert(live, dead).counts == UpsertCounts(stale=1)


@pytest.mark.parametrize(
    "fields", [{"title": "y"}, {"attributes": {"price": 2}}, {"image_uri": "elsewhere.png"}]
)
def test_of_two_contents_of_one_instant_the_same_one_wins_in_any_order(fields):
    one = rows(record("a", 1, "x"))
    other = rows(record("a", 1, **({"title": "x"} | fields)))
    assert {plan_upsert(one, other).counts, plan_upsert(other, one).counts} == {
        UpsertCounts(updated=1),
        UpsertCounts(stale=1),
    }
    together = [
        plan_upsert(pl.concat(pair), ITEMS.empty()) for pair in ((one, other), (other, one))
    ]
    assert together[0].rows.equals(together[1].rows)


def test_an_edit_without_created_at_leaves_the_item_as_old_as_it_is():
    first, edit = record("a", 1, "old", created_at=None), record("a", 9, "new", created_at=None)
    for batch, stored in ((edit, first), (first, edit)):  # the older one may come late, too
        upsert = plan_upsert(rows(batch), rows(stored))
        assert upsert.rows.select("title", "created_at").rows() == [
            ("new", START + timedelta(hours=1))
        ]


def test_new_items_replace_nothing():
    assert not plan_upsert(rows(record("a", 1)), ITEMS.empty()).replaces
    assert plan_upsert(rows(record("a", 2)), rows(record("a", 1))).replaces


records = st.builds(
    lambda item_id, hour, title, price, image_uri, created, deleted: record(
        item_id,
        hour,
        title,
        attributes={"price": price},
        image_uri=image_uri,
        created_at=None if created is None else START + timedelta(hours=created),
        deleted=deleted,
    ),
    st.sampled_from("ab"),
    st.integers(0, 3),
    st.sampled_from([None, "x", "y"]),
    st.sampled_from([1, 2]),
    st.sampled_from([None, "p", "q"]),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)


def reference(items):
    """The table by brute force: the newest record's row, with the earliest creation."""

    def order(row):
        return (
            row["updated_at"],
            row["deleted"],
            row["content_hash"] or "",
            row["attributes"],
            row["image_uri"] or "",
        )

    table = {}
    for row in rows(*items).iter_rows(named=True):
        table.setdefault(row["item_id"], []).append(row)
    return {
        item_id: max(versions, key=order)
        | {"created_at": min(version["created_at"] for version in versions)}
        for item_id, versions in table.items()
    }


@settings(deadline=None)  # the first call of a Polars kernel is slow
@given(st.lists(records, min_size=1, max_size=8), st.data())
def test_any_order_and_repetition_gives_the_same_table(items, data):
    again = data.draw(st.lists(st.sampled_from(items), max_size=4))
    deliveries = data.draw(st.permutations(items + again))
    batch_rows = data.draw(st.integers(1, len(deliveries)))
    stored = ITEMS.empty()
    for start in range(0, len(deliveries), batch_rows):
        written = plan_upsert(rows(*deliveries[start : start + batch_rows]), stored).rows
        stored = pl.concat([stored.join(written, on="item_id", how="anti"), written])
    assert {row["item_id"]: row for row in stored.to_dicts()} == reference(items)


@settings(deadline=None)  # the first call of a Polars kernel is slow
@given(st.lists(records, min_size=1, max_size=6))
def test_the_same_batch_again_changes_nothing(items):
    stored = plan_upsert(rows(*items), ITEMS.empty()).rows
    again = plan_upsert(rows(*items), stored)
    assert again.rows.is_empty()
    assert again.counts.inserted == again.counts.updated == again.counts.deleted == 0


happenings = st.builds(
    lambda event_id, hour, action, value, position, request_id: Event(
        event_id=event_id,
        user_id="u",
        item_id="a",
        ts=START + timedelta(hours=hour),
        action=action,
        value=value,
        position=position,
        request_id=request_id,
    ),
    st.sampled_from("ef"),
    st.integers(0, 2),
    st.sampled_from(["click", "view"]),
    st.sampled_from([None, 1.5, -2.0]),
    st.sampled_from([None, 0, 3]),
    st.sampled_from([None, "r", "s"]),
)


def newest_by_hand(events):
    """Of every event the one with the later time, then the larger content; null is the smallest."""

    def order(row):
        content = (row[n] for n in ("action", "request_id", "value", "position"))
        return row["ts"], *((value is not None, value) for value in content)

    table = {}
    for row in event_frame(events).iter_rows(named=True):
        known = table.get(row["event_id"])
        table[row["event_id"]] = max(known, row, key=order) if known else row
    return table


@settings(deadline=None)  # the first call of a Polars kernel is slow
@given(st.lists(happenings, min_size=1, max_size=8), st.data())
def test_any_order_and_repetition_of_events_gives_the_same_table(events, data):
    again = data.draw(st.lists(st.sampled_from(events), max_size=4))
    deliveries = data.draw(st.permutations(events + again))
    batch_rows = data.draw(st.integers(1, len(deliveries)))
    stored = EVENTS.empty()
    for start in range(0, len(deliveries), batch_rows):
        plan = plan_events(event_frame(deliveries[start : start + batch_rows]), stored)
        replaced = stored.join(plan.rows, on="event_id", how="semi").height
        assert (plan.counts.updated, plan.replaces) == (replaced, replaced > 0)
        assert plan.counts.inserted == plan.rows.height - replaced
        stored = pl.concat([stored.join(plan.rows, on="event_id", how="anti"), plan.rows])
    assert {row["event_id"]: row for row in stored.to_dicts()} == newest_by_hand(events)
    assert plan_events(event_frame(events), stored).rows.is_empty()
