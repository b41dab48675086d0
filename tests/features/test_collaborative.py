"""Tests for features/cooccurrence.py and features/collaborative.py, against a slow oracle.

The oracle is written from the rules of docs/features.md, one like and one pair at a time.
"""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.lake.tables import EVENTS, TIME
from features import collaborative
from features.collaborative import (
    NAMES,
    SWING_NAMES,
    NeighbourConfig,
    collaborative_features,
)
from features.cooccurrence import Cooccurrence, CooccurrenceConfig, cooccurrence
from features.daily_sums import DAYS
from features.histories import Pasts, histories
from features.neighbours import Neighbours
from features.swing import SwingConfig

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SWING = SwingConfig(max_partners=2, max_fellows=2)
CONFIG = CooccurrenceConfig(max_partners=3, swing=SWING)
SUMS = NeighbourConfig(slots=4, counts=CONFIG)

LIKES = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdef"), st.integers(0, 120)), max_size=40
)


def events_of(likes, action="click"):
    """Likes as (user, item, hour)."""
    rows = [
        {"event_id": str(n), "user_id": user, "item_id": item, "action": action}
        | {"ts": MIDNIGHT + hour * HOUR}
        for n, (user, item, hour) in enumerate(likes)
    ]
    return pl.DataFrame(rows, schema=EVENTS.schema)


def first_likes(likes, user):
    """A user's items with the hour of the first like; by hour, then by item."""
    first = {}
    for who, item, hour in likes:
        if who == user:
            first[item] = min(hour, first.get(item, hour))
    return sorted(first.items(), key=lambda like: (like[1], like[0]))


def slow_cosine(likes, one, other, day):
    """Both liked by the same users before a day, from the definition."""
    weight, users = 0.0, {one: 0, other: 0}
    for user in "uvwx":
        mine = first_likes(likes, user)
        for place, (item, hour) in enumerate(mine):
            if hour >= 24 * day:
                continue
            users[item] = users.get(item, 0) + 1
            before = [earlier for earlier, _ in mine[max(0, place - CONFIG.max_partners) : place]]
            if (item == one and other in before) or (item == other and one in before):
                weight += 1 / math.log2(2 + place)
    return weight / math.sqrt(users[one] * users[other]) if weight else 0.0


def slow_swing(likes, one, other, day):
    """Pairs of users who liked both before a day, each when the last of four likes was there."""
    order = sorted((hour, user, item) for user in "uvwx" for item, hour in first_likes(likes, user))
    swing = 0.0
    for now, (hour, user, item) in enumerate(order):
        if hour >= 24 * day:
            break
        liked = {who: [it for _, own, it in order[:now] if own == who] for who in "uvwx"}
        partners = liked[user][-SWING.max_partners :]
        earlier = [at for at, (_, _, it) in enumerate(order[:now]) if it == item]
        for at in earlier[-SWING.max_fellows :]:
            fellow = order[at][1]
            common = [it for it in partners if it in liked[fellow]]
            items = [len(liked[user]) + 1, 1 + sum(own == fellow for _, own, _ in order[:at])]
            if {one, other} - {item} <= set(common) and item in (one, other):
                swing += 1 / math.sqrt(math.prod(items)) / (SWING.alpha + 1 + len(common))
    return swing


def slow_row(likes, user, item, hour):
    """The columns of one candidate, from the definitions."""
    newest = {}
    for who, liked, at in likes:
        if who == user and at < hour:
            newest[liked] = max(at, newest.get(liked, at))
    past = sorted(newest, key=lambda liked: (newest[liked], liked), reverse=True)
    past = [liked for liked in past if liked != item][: SUMS.slots]
    day = hour // 24
    known = any(it == item and at < 24 * day for _, it, at in likes)
    if not past or not known:
        return dict.fromkeys([*NAMES, *SWING_NAMES])
    w = [slow_swing(likes, item, liked, day) for liked in past]
    strongest = sorted(w, reverse=True)[:3]
    k = [slow_cosine(likes, item, liked, day) for liked in past]
    best = sorted(k, reverse=True)[:3]
    return {
        "co_decayed": sum(0.9**place * value for place, value in enumerate(k)),
        "co_mean": sum(k) / len(k),
        "co_max": best[0],
        "co_top3_mean": sum(best) / len(best),
        "co_last": k[0],
        "co_last5_max": max(k[:5]),
        "co_share": sum(value > 0 for value in k) / len(k),
        "swing_decayed": sum(0.9**place * value for place, value in enumerate(w)),
        "swing_max": strongest[0],
        "swing_top3_mean": sum(strongest) / len(strongest),
        "swing_last5_max": max(w[:5]),
    }


def asked_of(requests):
    """Requests as (user, hour); every item is a candidate of each."""
    rows = [
        {"request": r, "user_id": user, "item_id": item, "ts": MIDNIGHT + hour * HOUR}
        for r, (user, hour) in enumerate(requests)
        for item in "abcdefz"
    ]
    schema = {"request": pl.UInt32, "user_id": pl.String, "item_id": pl.String, "ts": TIME}
    return pl.DataFrame(rows, schema=schema)


def made(likes, requests, counts=None):
    asked = asked_of(requests)
    events = events_of(likes)
    past = histories(
        asked.select("request", "user_id", "ts").unique("request").sort("request"), events
    )
    counts = counts or cooccurrence(events, config=CONFIG, with_swing=True)
    made = collaborative_features(asked, Pasts.of(past), counts, config=SUMS, with_swing=True)
    return asked, made


@settings(max_examples=60, deadline=None)
@given(LIKES, st.lists(st.tuples(st.sampled_from("uvwy"), st.integers(0, 130)), max_size=5))
def test_any_log_agrees_with_a_slow_oracle(likes, requests):
    asked, got = made(likes, requests)
    assert len(got) == len(asked)
    for key, row in zip(asked.iter_rows(named=True), got.to_dicts(), strict=True):
        hour = (key["ts"] - MIDNIGHT) // HOUR
        for name, value in slow_row(likes, key["user_id"], key["item_id"], hour).items():
            assert row[name] == (value if value is None else pytest.approx(value, abs=1e-6)), name


@settings(max_examples=60, deadline=None)
@given(LIKES, st.integers(0, 120))
def test_counts_grown_in_steps_are_those_made_at_once(likes, hour):
    early = [like for like in likes if like[2] < hour]
    late = [like for like in likes if like[2] >= hour]
    begun = cooccurrence(events_of(early), config=CONFIG, with_swing=True)
    grown = cooccurrence(events_of(late), config=CONFIG, earlier=begun)
    whole = cooccurrence(events_of(likes), config=CONFIG, with_swing=True)
    assert grown.item_ids.equals(whole.item_ids)
    for name in ("pair_P", "weight_P", "swing_P", "item_Q", "users_Q"):
        assert (getattr(grown, name) == getattr(whole, name)).all(), name


def test_what_happens_on_the_day_of_the_request_is_not_counted():
    likes = [("v", "a", 10), ("v", "b", 11), ("w", "a", 30), ("w", "b", 31), ("u", "a", 1)]
    today = [*likes, ("x", "a", 49), ("x", "b", 50)]
    _, before = made(likes, [("u", 60)])
    _, after = made(today, [("u", 60)])
    assert before.equals(after)
    _, tomorrow = made(today, [("u", 72)])
    assert tomorrow["co_max"][1] > before["co_max"][1] > 0  # the candidate b


def test_counts_are_read_back_as_they_were(tmp_path):
    events = events_of([("u", "a", 1), ("u", "b", 30), ("v", "b", 50)])
    counts = cooccurrence(events, with_swing=True)
    counts.save(tmp_path / "counts")
    read = Cooccurrence.load(tmp_path / "counts")
    assert read.likes.equals(counts.likes)
    for name in ("pair_P", "weight_P", "swing_P", "item_Q", "users_Q"):
        assert (getattr(read, name) == getattr(counts, name)).all(), name
    (tmp_path / "counts").write_bytes(b"something else")
    with pytest.raises(ValueError, match="must hold co-occurrence counts"):
        Cooccurrence.load(tmp_path / "counts")


def test_counts_without_swing_are_the_others_and_say_nothing_of_it(tmp_path):
    events = events_of([("u", "a", 1), ("u", "b", 2), ("v", "a", 3), ("v", "b", 30)])
    counts, whole = cooccurrence(events), cooccurrence(events, with_swing=True)
    counts.save(tmp_path / "counts")
    for each in (counts, Cooccurrence.load(tmp_path / "counts")):
        assert each.swing_P is None
        assert (each.weight_P == whole.weight_P).all()
        one, day = np.array([0]), np.array([each.pair_P[0] % DAYS + 1])
        assert each.cosines(one, one + 1, day) == whole.cosines(one, one + 1, day)
        with pytest.raises(ValueError, match="Swing must have been counted"):
            each.swings(one, one + 1, day)
        with pytest.raises(ValueError, match="Swing must have been counted"):
            Neighbours.of(each).swings(one, one + 1, int(day[0]))


def test_older_events_cannot_be_added():
    counts = cooccurrence(events_of([("u", "a", 5)]))
    with pytest.raises(ValueError, match="must not be older than what was counted"):
        cooccurrence(events_of([("u", "b", 4)]), earlier=counts)


def test_blocks_do_not_change_a_value(monkeypatch):
    likes = [("u", "a", 1), ("u", "b", 2), ("v", "a", 3), ("v", "c", 4), ("v", "b", 5)]
    requests = [("u", 30), ("v", 50), ("y", 50)]
    _, whole = made(likes, requests)
    monkeypatch.setattr(collaborative, "BLOCK_ROWS", 4)
    assert made(likes, requests)[1].equals(whole)
