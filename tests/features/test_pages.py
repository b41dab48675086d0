"""Tests for features/pages.py: pages as they should be, and as clients send them."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.tables import EVENTS
from features.histories import histories
from features.pages import pages_of
from features.requests import requests_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def events(*rows):
    """Rows of (request, item, action, minutes after noon), of user u unless a fifth names one."""
    return pl.DataFrame(
        [
            {"event_id": str(i), "request_id": r, "user_id": user[0] if user else "u"}
            | {"item_id": item, "action": a, "ts": NOON + timedelta(minutes=m)}
            | {"value": 4.0 if a == "rating" else None}
            for i, (r, item, a, m, *user) in enumerate(rows)
        ],
        schema=EVENTS.schema,
    )


def shown(request, items, minutes, *user):
    """An impression of each letter of `items`."""
    return [(request, item, "impression", minutes, *user) for item in items]


def relevance(*rows):
    got = pages_of(events(*rows)).impressions
    return {(r, i): rel for r, i, rel in got.select("request_id", "item_id", "relevance").rows()}


def pages(*rows, **options):
    """(request, user, minutes after noon) -> items and their relevance."""
    got = pages_of(events(*rows), **options).impressions
    found = {}
    for request, user, item, ts, worth, _ in got.rows():
        key = (request, user, (ts - NOON) / timedelta(minutes=1))
        found.setdefault(key, {})[item] = worth
    return found


def counts(*rows, **options):
    return pages_of(events(*rows), **options).counts.oddities()


def test_a_page_tells_the_first_place_at_which_an_item_was_shown():
    rows = shown("r", "abca", 0)
    log = events(*rows).with_columns(position=pl.Series([None, 1, 2, 3], dtype=pl.Int32))
    places = pages_of(log).impressions.select("item_id", "position").rows()
    assert places == [("a", 3), ("b", 1), ("c", 2)]  # of a's two places one is not told


def test_best_outcome_of_the_same_request_and_item_counts():
    assert relevance(
        ("r", "a", "impression", 0),
        ("r", "a", "click", 1),
        ("r", "a", "purchase", 2),
        ("r", "b", "impression", 0),
        ("r", "b", "skip", 1),
        ("s", "b", "impression", 5),
        ("s", "b", "click", 6),
    ) == {("r", "a"): 2, ("r", "b"): 0, ("s", "b"): 1}


def test_liked_means_on_a_page_what_it_means_in_a_history():
    log = events(("r", "a", "impression", 0), ("r", "a", "rating", 1))
    assert pages_of(log).impressions["relevance"].to_list() == [2]
    poor = log.with_columns(value=pl.lit(1.0))
    assert pages_of(poor).impressions["relevance"].to_list() == [0]


def test_request_has_the_time_of_its_first_impression():
    got = pages_of(
        events(("r", "b", "impression", 3), ("r", "a", "impression", 1), ("r", "a", "click", 2))
    ).impressions
    assert got["ts"].to_list() == [NOON + timedelta(minutes=1)] * 2
    assert got["item_id"].to_list() == ["a", "b"]


def test_item_shown_twice_is_one_impression():
    assert relevance(("r", "a", "impression", 0), ("r", "a", "impression", 1)) == {("r", "a"): 0}


def test_a_page_that_is_right_counts_nothing_odd():
    rows = [*shown("r", "ab", 0), ("r", "a", "click", 1)]
    assert counts(*rows) == {}
    made = pages_of(events(*rows)).counts
    assert (made.pages, made.impressions, made.liked) == (1, 2, 1)


def test_a_log_that_shows_nothing_counts_nothing_odd():
    assert counts((None, "a", "rating", 0), ("r", "b", "click", 1)) == {}


@pytest.mark.parametrize("blank", [None, "", " ", "\t\n"])
def test_a_blank_request_is_absent_and_its_impressions_are_counted(blank):
    rows = [*shown(blank, "ab", 0), *shown(blank, "c", 600, "v"), *shown("r", "a", 5)]
    assert pages(*rows) == {("r", "u", 5): {"a": 0}}
    assert counts(*rows) == {"impressions_without_request": 3}


def test_users_who_share_an_id_have_a_page_each():
    rows = [*shown("r", "ab", 0), *shown("r", "bc", 2, "v"), ("r", "b", "click", 3, "v")]
    assert pages(*rows) == {("r", "u", 0): {"a": 0, "b": 0}, ("r", "v", 2): {"b": 1, "c": 0}}
    assert counts(*rows) == {"shared_requests": 1}


def test_another_users_answer_is_not_the_pages():
    rows = [*shown("r", "a", 0), ("r", "a", "click", 1, "v")]
    assert pages(*rows) == {("r", "u", 0): {"a": 0}}
    assert counts(*rows) == {"liked_without_impression": 1}


@pytest.mark.parametrize("request_id", ["r", None, "other"])
def test_what_was_liked_but_not_shown_is_no_row(request_id):
    rows = [*shown("r", "a", 0), (request_id, "b", "click", 1)]
    assert pages(*rows) == {("r", "u", 0): {"a": 0}}
    assert counts(*rows) == {"liked_without_impression": 1}


@pytest.mark.parametrize("minutes", [-0.3, -60 * 24 * 365, 60 * 24 * 365])
def test_an_answer_counts_whatever_the_clock_says(minutes):
    assert relevance(*shown("r", "ab", 0), ("r", "a", "click", minutes)) == {
        ("r", "a"): 1,
        ("r", "b"): 0,
    }


@pytest.mark.parametrize("action", ["click", "skip", "rating"])
def test_no_event_of_a_page_is_known_when_the_page_is_made(action):
    log = events(*shown("r", "abc", 0), ("r", "a", action, -1), ("r", "unshown", action, -2))
    made = pages_of(log)
    assert made.counts.events_before_page == 2
    assert made.events["ts"].to_list() == [NOON] * 5
    assert histories(requests_of(made.impressions), made.events)["items"].to_list() == [[]]


def test_other_events_keep_their_time_and_order():
    log = events(("old", "a", "click", -5), *shown("r", "b", 0), (None, "a", "like", -1))
    assert pages_of(log).events.equals(log)


def test_an_id_that_is_kept_for_days_is_a_page_each_time():
    day = 60 * 24
    rows = [*shown("s", "ab", 0), *shown("s", "cd", 3 * day), *shown("s", "a", 9 * day)]
    rows += [("s", "b", "click", 5), ("s", "c", "click", 3 * day + 1), ("s", "a", "click", 4 * day)]
    assert pages(*rows) == {
        ("s", "u", 0): {"a": 1, "b": 1},
        ("s", "u", 3 * day): {"c": 1, "d": 0},
        ("s", "u", 9 * day): {"a": 0},
    }
    assert counts(*rows) == {"lasting_requests": 1}


def test_a_page_is_scrolled_for_an_hour_and_no_longer():
    rows = [("s", str(m), "impression", m) for m in (0, 30, 60, 61, 120, 121, 122)]
    assert {key[2]: list(items) for key, items in pages(*rows).items()} == {
        0: ["0", "30", "60"],
        61: ["120", "121", "61"],
        122: ["122"],
    }


def test_one_impression_of_a_wrong_clock_leaves_the_others_their_page():
    rows = [*shown("r", "abc", 0), ("r", "d", "impression", -60 * 24 * 400), *shown("q", "a", 9)]
    got = pages(*rows, ("r", "a", "click", 1))
    assert got["r", "u", 0] == {"a": 1, "b": 0, "c": 0}
    assert got["q", "u", 9] == {"a": 0}


def test_page_that_no_ranker_takes_is_left_out_and_counted():
    rows = [*shown("r", "abc", 0), *shown("s", "abcd", 1, "bot"), ("s", "a", "click", 2, "bot")]
    assert pages(*rows, max_items=3) == {("r", "u", 0): {"a": 0, "b": 0, "c": 0}}
    assert counts(*rows, max_items=3) == {"oversized_pages": 1}
    assert len(pages_of(events(*rows), max_items=3).events) == len(rows)


PAGED = [
    row for n in range(10) for row in (*shown(f"r{n}", "ab", n), (f"r{n}", "a", "click", n + 1))
]


def teaches(*rows):
    return pages_of(events(*rows)).teach()


def test_pages_teach_where_a_tenth_of_what_was_liked_was_liked_on_them():
    assert teaches(*PAGED)
    assert teaches(*PAGED, *((None, "a", "like", n) for n in range(90)))
    assert not teaches(*PAGED, *((None, "a", "like", n) for n in range(91)))


@pytest.mark.parametrize(
    "odd", [[(None, "z", "impression", 0)], shown("r", "z", 0), [*shown("r", "z", 0), PAGED[2]]]
)
def test_one_odd_page_does_not_make_a_log_of_ratings_pages(odd):
    assert not teaches(*((None, "a", "rating", n) for n in range(30)), *odd)


def test_pages_of_one_moment_cannot_be_tested_on_newer_ones():
    assert not teaches(*shown("r", "ab", 0), *shown("s", "ab", 0, "v"), ("r", "a", "click", 1))


def test_no_events_make_no_pages():
    made = pages_of(EVENTS.empty())
    assert made.impressions.is_empty()
    assert not made.teach()
