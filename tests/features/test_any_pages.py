"""A property of features/pages.py: any log gives the pages of a slow oracle, and no page another.

The oracle is written from the rules of docs/features.md, section *Pages*, one event at a time.
"""

import os
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.lake.tables import EVENTS
from features.histories import histories
from features.pages import pages_of
from features.requests import requests_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WORTH = {"view": 1, "click": 1, "like": 2, "purchase": 2, "rating": 2}
MAX_ITEMS = 3
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "150"))

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "request_id": st.sampled_from(["r", "r", "s", "t", None, "", " "]),
            "user_id": st.sampled_from(["u", "u", "v"]),
            "item_id": st.sampled_from("abcde"),
            "action": st.sampled_from(["impression"] * 6 + [*WORTH, "skip"]),
            "value": st.sampled_from([None, 1.0, 3.5, 5.0]),
            "minutes": st.sampled_from(
                [-500_000, -2, -1, 0, 0, 0, 1, 2, 30, 60, 61, 62, 4_000, 500_000]
            ),
        }
    ),
    max_size=40,
)


def log_of(rows):
    """Rows of the events table; each row's place is its id."""
    return pl.DataFrame(
        [
            {name: row[name] for name in ("request_id", "user_id", "item_id", "action", "value")}
            | {"event_id": str(number), "ts": NOON + timedelta(minutes=row["minutes"])}
            for number, row in enumerate(rows)
        ],
        schema=EVENTS.schema,
    )


def request_of(event):
    """A request is one user's; a blank id is absent."""
    blank = event["request_id"] is None or not event["request_id"].strip()
    return None if blank else (event["user_id"], event["request_id"])


def is_liked(event):
    poor = event["action"] == "rating" and (event["value"] is None or event["value"] < 3.5)
    return event["action"] in WORTH and not poor


def slow_pages(events):
    """(user, request) -> list of (page's time, items shown), by time."""
    pages = {}
    shown = [e for e in events if e["action"] == "impression" and request_of(e)]
    for event in sorted(shown, key=lambda e: e["ts"]):
        of_request = pages.setdefault(request_of(event), [])
        if not of_request or event["ts"] - of_request[-1][0] > HOUR:
            of_request.append((event["ts"], set()))
        of_request[-1][1].add(event["item_id"])
    return pages


def page_of(event, pages, *, showing):
    """The newest page of the event's request not after it, else the first; None without any."""
    starts = [
        start
        for start, items in pages.get(request_of(event), [])
        if not showing or event["item_id"] in items
    ]
    past = [start for start in starts if start <= event["ts"]]
    return max(past) if past else min(starts, default=None)


def slow_rows(events):
    """(request, user, item, page's time) -> relevance."""
    pages = slow_pages(events)
    rows = {
        (request, user, item, start): 0
        for (user, request), of_request in pages.items()
        for start, items in of_request
        if len(items) <= MAX_ITEMS
        for item in items
    }
    for event in filter(is_liked, events):
        start = page_of(event, pages, showing=True)
        key = (event["request_id"], event["user_id"], event["item_id"], start)
        if key in rows:
            rows[key] = max(rows[key], WORTH[event["action"]])
    return rows


def slow_times(events):
    """When each event counts from: not before the page that it is of."""
    pages = slow_pages(events)
    times = []
    for event in events:
        start = page_of(event, pages, showing=True) or page_of(event, pages, showing=False)
        times.append(event["ts"] if start is None else max(event["ts"], start))
    return times


def rows_of(made):
    return {row[:4]: row[4] for row in made.impressions.iter_rows()}


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS)
def test_any_log_gives_the_pages_of_the_oracle(rows):
    log = log_of(rows)
    events = log.to_dicts()
    made = pages_of(log, max_items=MAX_ITEMS)
    expected = slow_rows(events)
    assert rows_of(made) == expected
    assert len(made.impressions) == len(expected)
    assert made.events["ts"].to_list() == slow_times(events)
    assert made.events["event_id"].equals(log["event_id"])
    pages = slow_pages(events)
    assert made.counts.oddities().get("impressions_without_request", 0) == sum(
        e["action"] == "impression" and request_of(e) is None for e in events
    )
    assert made.counts.liked_without_impression == sum(
        is_liked(e) and page_of(e, pages, showing=True) is None for e in events
    )
    assert made.counts.pages + made.counts.oversized_pages == sum(map(len, pages.values()))
    assert made.counts.lasting_requests == sum(len(starts) > 1 for starts in pages.values())


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS, ROWS.filter(len))
def test_one_event_never_changes_the_pages_of_another_request(rows, odd):
    odd = odd[0]
    without, with_it = (pages_of(log_of(log), max_items=MAX_ITEMS) for log in (rows, [*rows, odd]))
    own = request_of(odd)
    before, after = (
        {key: worth for key, worth in rows_of(made).items() if (key[1], key[0]) != own}
        for made in (without, with_it)
    )
    assert before == after


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS)
def test_nothing_of_a_page_is_ever_its_history(rows):
    """Told by event ids for items: no history holds what the page that it is shown on led to."""
    log = log_of(rows)
    made = pages_of(log.with_columns(item_id=pl.col("item_id")))
    named = made.events.with_columns(item_id=pl.col("event_id"))
    requests = requests_of(made.impressions)
    past = histories(requests, named)["items"].to_list()
    pages = slow_pages(log.to_dicts())
    events = {event["event_id"]: event for event in log.to_dicts()}
    for request, items in zip(requests.iter_rows(named=True), past, strict=True):
        for event in (events[item] for item in items):
            start = page_of(event, pages, showing=True) or page_of(event, pages, showing=False)
            own = request_of(event) == (request["user_id"], request["request_id"])
            assert not (own and start == request["ts"])
