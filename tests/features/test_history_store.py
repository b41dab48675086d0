"""Tests for features/history_store.py: what is kept in memory equals a scan of the lake."""

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.event_corrections import EventFilter, Note, correct_events, drop_events
from catalog.lake.lake import Lake
from catalog.lake.maintenance import compact
from catalog.lake.tables import EVENTS
from features.histories import HistoryConfig, histories
from features.history_store import HistoryStore, HistoryStoreConfig, ScannedHistories

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACTIONS = ("impression", "click", "like", "purchase", "skip", "rating", "view")
YEAR = timedelta(days=365)
NOTE = Note(by="ana", at=NOON, reason="a bot")
USERS = [f"u{n}" for n in range(6)]
SMALL = HistoryStoreConfig(max_items=4, overlay_rows=12, popularity_half_life_days=2.0)


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def store_of(lake, config=SMALL):
    return HistoryStore(lake, config, now=lambda: NOON)


def events(rng, *, first, num=12):
    """Events of any age and order, ties among them, ids partly known already."""
    rows = []
    for number in rng.integers(max(0, first - 4), first + num, size=num):
        action = ACTIONS[rng.integers(len(ACTIONS))]
        value = float(rng.integers(1, 6)) if action == "rating" else None
        user, item = USERS[rng.integers(len(USERS))], f"i{rng.integers(9)}"
        ts = NOON - timedelta(hours=int(rng.integers(-30, 24 * 20)))
        rows.append((str(number), None, user, item, action, value, None, ts))
    return pl.DataFrame(rows, schema=EVENTS.schema, orient="row")


def scanned(lake, user_id):
    """The three lists, the liked as the features have them, the others by plain Python."""
    rows = lake.read(EVENTS).filter(pl.col("user_id") == user_id)
    request = pl.DataFrame({"request": ["r"], "user_id": [user_id], "ts": [NOON + YEAR]})
    request = request.with_columns(pl.col("ts").cast(EVENTS.schema["ts"]))
    [liked] = histories(request, rows, config=HistoryConfig(max_items=4))["items"].to_list()
    newest = {}
    for row in rows.iter_rows(named=True):
        is_liked = row["action"] in ("click", "like", "purchase", "view") or (
            row["action"] == "rating" and row["value"] >= 3.5
        )
        if not is_liked:
            key = (row["action"] == "impression", row["item_id"])
            newest[key] = max(newest.get(key, row["ts"]), row["ts"])
    other = [
        [item for _, item in sorted(((ts, i) for (s, i), ts in newest.items() if s == shown))][::-1]
        for shown in (False, True)
    ]
    return [liked, other[0][:4], other[1][:4]]


def popular(lake):
    """Decayed counts by plain Python, from the last day that has a like and is not to come."""
    counts, liked = {}, []
    for row in lake.read(EVENTS).iter_rows(named=True):
        if row["action"] in ("click", "like", "purchase", "view") or (
            row["action"] == "rating" and row["value"] >= 3.5
        ):
            liked.append(row)
    days = [row["ts"].date() for row in liked if row["ts"].date() <= NOON.date()]
    for row in liked:
        age = (max(days) - row["ts"].date()).days
        if 0 <= age <= 16:
            counts[row["item_id"]] = counts.get(row["item_id"], 0.0) + 0.5 ** (age / 2.0)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def assert_equals_a_scan(store, lake):
    for user in (*USERS, "stranger"):
        held = store.of(user)
        assert [held.liked, held.acted, held.shown] == scanned(lake, user), user
    found, expected = store.popular(100), popular(lake)
    assert found["item_id"].to_list() == [item for item, _ in expected]
    np.testing.assert_allclose(found["popularity"], [count for _, count in expected], atol=1e-9)


def change(lake, rng, step):
    """Do one of the things that happen to an events table."""
    kind = rng.integers(5)
    if kind <= 1:
        lake.upsert_events(events(rng, first=12 * step))
    elif kind == 2:
        drop_events(lake, EventFilter(user_id=USERS[rng.integers(6)]), NOTE)
    elif kind == 3:
        meant = EventFilter(item_id=f"i{rng.integers(9)}")
        note = Note(by="ana", at=NOON + timedelta(minutes=step), reason="the wrong item")
        correct_events(lake, meant, {"user_id": USERS[rng.integers(6)]}, note)
    else:
        compact(lake)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_store_that_follows_the_lake_equals_a_scan_after_every_change(lake, seed):
    rng = np.random.default_rng(seed)
    store, late = store_of(lake), store_of(lake)
    for step in range(10):
        change(lake, rng, step)
        store.refresh()
        assert_equals_a_scan(store, lake)
        if step % 4 == 3:
            late.refresh()  # several commits at once
            assert_equals_a_scan(late, lake)


def test_one_user_alone_is_read_as_the_store_would(lake):
    lake.upsert_events(events(np.random.default_rng(3), first=0, num=60))
    store = store_of(lake)
    store.refresh()
    assert ScannedHistories(lake, SMALL).of("u1") == store.of("u1")
    assert store.of("u1").liked


def test_popularity_read_once_is_that_of_a_store(lake):
    now = datetime.now(UTC)
    recent = events(np.random.default_rng(3), first=0, num=60).with_columns(
        pl.lit(now - timedelta(hours=1)).alias("ts").cast(EVENTS.schema["ts"])
    )
    lake.upsert_events(recent)
    store = HistoryStore(lake, SMALL)
    store.refresh()
    assert ScannedHistories(lake, SMALL).popular(5).equals(store.popular(5))
    assert len(store.popular(5)) == 5


def test_of_a_log_that_ended_long_ago_its_last_days_are_popular(lake):
    log = events(np.random.default_rng(3), first=0, num=60)
    lake.upsert_events(log)
    last_day = log["ts"].max()
    at_its_end, long_after = (
        HistoryStore(lake, SMALL, now=lambda moment=moment: moment)
        for moment in (last_day, last_day + 10 * YEAR)
    )
    for store in (at_its_end, long_after):
        store.refresh()
    assert long_after.popular(99).equals(at_its_end.popular(99))
    assert len(long_after.popular(99)) >= 5


def test_nothing_new_is_no_refresh(lake):
    lake.upsert_events(events(np.random.default_rng(0), first=0))
    store = store_of(lake)
    assert [store.refresh(), store.refresh()] == [True, False]


def test_a_refresh_that_fails_is_made_up_for_by_the_next(lake):
    lake.upsert_events(events(np.random.default_rng(0), first=0))
    moments = [NOON]
    store = HistoryStore(lake, SMALL, now=lambda: moments[0])
    store.refresh()
    moments[0] = None
    lake.upsert_events(events(np.random.default_rng(1), first=12))
    with pytest.raises(AttributeError):
        store.refresh()
    moments[0] = NOON
    assert store.refresh()
    assert_equals_a_scan(store, lake)


def test_who_asks_during_a_refresh_gets_what_was_known_before(lake):
    lake.upsert_events(events(np.random.default_rng(0), first=0))
    store = store_of(lake)
    store.refresh()
    before = {user: store.of(user) for user in USERS}
    lake.upsert_events(events(np.random.default_rng(1), first=12, num=40))
    entered, go_on = threading.Event(), threading.Event()

    def slow():
        entered.set()
        go_on.wait(10)
        return NOON

    store._now = slow
    thread = threading.Thread(target=store.refresh)
    thread.start()
    entered.wait(10)
    assert {user: store.of(user) for user in USERS} == before
    go_on.set()
    thread.join()
    assert_equals_a_scan(store, lake)


@pytest.mark.parametrize("wrong", [{"max_items": 0}, {"popularity_half_life_days": 0}])
def test_a_store_that_would_hold_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        HistoryStoreConfig(**wrong)
