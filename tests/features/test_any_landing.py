"""A property of features/pages.py: what a settled day's requests know is settled, whatever lands.

Random logs whose requests go on over midnight; then more of their events and pages lands. Of days
that had settled by then the rows, and all that their requests know, must be the same.
"""

import os
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catalog.lake.tables import EVENTS, LANDED_AT
from features.pages import pages_of

START = datetime(2026, 3, 1, tzinfo=UTC)
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "100"))

users, requests, items = (st.sampled_from(each) for each in ("uuuv", "rrrs", "aab"))
actions = st.sampled_from(["impression", "impression", "like"])
EARLY = st.tuples(  # half hours, mostly around a midnight, and the hour of its landing
    users,
    requests,
    items,
    actions,
    st.sampled_from([0, 44, 46, 47, 48, 54, 100]),
    st.sampled_from([0, 26]),
)
LATE = st.tuples(
    users,
    requests,
    items,
    actions,
    st.sampled_from([0, 40, 47, 48, 49, 50]),
    st.sampled_from([1, 10, 26]),
)
SETTLED = st.sampled_from([48.5, 97])
"""The hour in which the first day has settled, or the third; days without pages have not."""


def log(rows):
    """Events as the lake keeps them."""
    return pl.DataFrame(
        [
            {"event_id": str(n), "request_id": request, "user_id": user, "item_id": item}
            | {"action": action, "ts": START + timedelta(hours=time / 2)}
            | {LANDED_AT: START + timedelta(hours=max(time / 2, landed))}
            for n, (user, request, item, action, time, landed) in enumerate(rows)
        ],
        schema=EVENTS.stored_schema,
    )


def known_to(pages, days):
    """The rows of some days, and the events that the newest of them may know of."""
    rows = pages.impressions.filter(pl.col("ts").dt.date().is_in(days))
    known = pages.events.filter(pl.col("ts") < (rows["ts"].max() or START))
    return rows.rows(), sorted(known.select("event_id", "ts").rows())


@example(  # the page began yesterday and has settled
    hour=48.5,
    early=[("u", "r", "a", "impression", 47, 0)],
    late=[("u", "r", "b", "impression", 48, 9)],
)
@example(  # the like is of yesterday's page, which has settled
    hour=48.5,
    early=[("u", "r", "a", "impression", 46, 0), ("u", "r", "a", "like", 54, 0)],
    late=[("u", "r", "a", "impression", 50, 9)],
)
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    hour=SETTLED,
    early=st.lists(EARLY, min_size=1, max_size=4),
    late=st.lists(LATE, min_size=1, max_size=3),
)
def test_what_lands_later_is_no_news_to_the_requests_of_settled_days(hour, early, late):
    whole = log([*early, *((*row[:-1], hour + row[-1]) for row in late)])
    moment = START + timedelta(hours=hour)
    then = pages_of(whole.filter(pl.col(LANDED_AT) <= moment))
    days = then.settling.filter(pl.col("settles_at") <= moment)["day"].to_list()
    assert known_to(pages_of(whole), days) == known_to(then, days)
