"""Tests for ranker/stage_one.py: each channel alone, with what it may know."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.tables import EVENTS
from features.cooccurrence import cooccurrence
from features.daily_sums import days_of
from features.histories import HistoryConfig
from ranker.stage_one import Catalogue, StageOne, StageOneConfig

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NONE = {"neighbours": 0, "popular": 0, "favourites": 0, "nearest": 0, "fresh": 0}
IDS = list("abcdef")
VECTORS = {"a": [1.0, 0.0], "b": [0.8, 0.6], "c": [0.6, 0.8], "d": [0.0, 1.0], "e": [-1.0, 0.0]}


def likes(*rows):
    """Rows of (user, item, days after noon)."""
    return pl.DataFrame(
        [
            {"event_id": str(n), "user_id": user, "item_id": item, "action": "like"}
            | {"ts": NOON + timedelta(days=day)}
            for n, (user, item, day) in enumerate(rows)
        ],
        schema=EVENTS.schema,
    )


LOG = likes(
    *[("v", "a", 0), ("v", "b", 0), ("w", "a", 1), ("w", "c", 2), ("x", "c", 3), ("y", "c", 90)],
    *[("u", "a", 5), ("z", "d", 80), ("z2", "d", 81), ("t", "c", 0)],
)


def stage_one(asked, events, catalogue, **channels):
    """Candidates of all requests; every event is a like."""
    return StageOne(
        *(catalogue, cooccurrence(events), events, days_of(asked["ts"])),
        history=HistoryConfig(),
        config=StageOneConfig(**(NONE | channels)),
    ).candidates(asked, events)


def candidates(day, *, user="u", answer="f", events=LOG, **channels):
    """Item ids of one request."""
    items = pl.DataFrame(
        {"item_id": IDS, "created_at": [NOON + timedelta(days=20 * n) for n in range(len(IDS))]}
    )
    vectors = pl.DataFrame({"item_id": list(VECTORS), "vector": list(VECTORS.values())})
    asked = pl.DataFrame(
        {"request_id": "r", "user_id": user, "ts": [NOON + timedelta(days=day)]}
        | {"item_id": answer}
    )
    found = stage_one(asked, events, Catalogue.of(pl.Series(IDS), items, vectors), **channels)
    assert found["item_id"].is_sorted()
    return "".join(found["item_id"])


def test_neighbours_were_liked_together_with_the_history_before_the_day():
    assert candidates(6, neighbours=5) == "bc"
    # On the third day c is not yet liked by anybody who liked a; and u has liked nothing.
    assert candidates(2, neighbours=5, user="w", answer="c") == "b"
    assert candidates(2, neighbours=5) == ""


@pytest.mark.parametrize(("day", "best"), [(6, "c"), (82, "d")])
def test_popular_is_what_was_liked_of_late(day, best):
    assert candidates(day, popular=1) == best


def test_favourites_are_of_most_users_before_the_day():
    assert candidates(82, favourites=1) == "c"  # of three, the one of day 90 not among them
    assert candidates(82, favourites=1, user="nobody") == "a"  # of three too; a tie goes by id


def test_nearest_are_by_the_profile_and_need_a_vector():
    assert candidates(6, nearest=2) == "bc"
    assert candidates(6, nearest=9) == "bcde"
    assert candidates(4, nearest=2) == ""  # u has liked nothing by then


def test_fresh_is_what_was_created_last_and_not_later():
    assert candidates(50, fresh=1) == "c"
    assert candidates(50, fresh=2) == "bc"


def test_what_a_user_acts_on_at_any_time_is_no_candidate_but_the_answer():
    assert candidates(6, neighbours=5, user="w", answer="f") == "b"
    assert candidates(6, neighbours=5, user="w", answer="c") == "bc"


def test_channels_are_joined_and_requests_answered_in_their_order():
    assert candidates(82, popular=1, favourites=1) == "cd"
    asked = pl.DataFrame(
        {
            "request_id": ["late", "early"],
            "user_id": "u",
            "ts": [NOON + timedelta(days=82), NOON + timedelta(days=6)],
            "item_id": "f",
        }
    )
    items = pl.DataFrame({"item_id": IDS, "created_at": [NOON] * len(IDS)})
    vectors = pl.DataFrame({"item_id": list(VECTORS), "vector": list(VECTORS.values())})
    catalogue = Catalogue.of(pl.Series(IDS), items, vectors)
    found = stage_one(asked, LOG, catalogue, popular=1)
    assert found.select("request_id", "item_id").rows() == [("late", "d"), ("early", "c")]
