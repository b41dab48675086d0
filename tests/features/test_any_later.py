"""A property of features: whatever lands later, earlier requests keep theirs to the last bit.

Random logs, landed in random portions; then random events, edits and deletions land, dated anywhere
in the past. The rows of days that had settled are made twice, without and with what came later.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from catalog.lake.item_versions import DESCRIBED
from catalog.lake.tables import EVENTS, ITEM_VERSIONS, ITEMS, LANDED_AT
from features.centred_embeddings import CentredEmbeddings
from features.centring import Centring
from features.cooccurrence import cooccurrence
from features.landings import Landings, item_histories
from features.pages import pages_of
from features.table import build_features

START = datetime(2026, 3, 1, tzinfo=UTC)
NUM_ITEMS, SETTLED = 5, 200
CENTRING = Centring("v", (0.0, 0.0, 0.0), (-0.2, 0.1, 0.5))

users, items = st.sampled_from(["u", "v", "w"]), st.integers(0, NUM_ITEMS - 1)
actions = st.sampled_from(["impression", "impression", "like", "click", "skip"])
early = st.tuples(users, items, actions, st.integers(0, 90), st.integers(0, 9))
late = st.tuples(users, items, actions, st.integers(0, 220), st.integers(0, 90))
edits = st.tuples(items, st.sampled_from("xyz"), st.integers(-50, 290), st.integers(0, 90))


def at(hours):
    return START + timedelta(hours=hours)


def log(rows, landed_of):
    """Events as the lake keeps them; a page lasts as long as the four hours it begins in."""
    return pl.DataFrame(
        [
            {
                "event_id": f"{n} {row}",
                "request_id": f"{row[0]} {row[3] // 4 * 4}",
                "user_id": row[0],
                "item_id": f"i{row[1]}",
                "action": row[2],
                "ts": at(row[3]),
                LANDED_AT: at(landed_of(row)),
            }
            for n, row in enumerate(rows)
        ],
        schema=EVENTS.stored_schema,
    )


def versions(rows):
    """(item, category, updated, landed) in hours; the content is the category."""
    return pl.DataFrame(
        [
            (f"i{item}", at(updated), category, category, float(updated), at(-60), at(landed))
            for item, category, updated, landed in rows
        ],
        schema=ITEM_VERSIONS.schema,
        orient="row",
    ).unique(ITEM_VERSIONS.key, keep="first", maintain_order=True)


def tombstones(numbers):
    rows = [
        {"item_id": f"i{n}", "updated_at": at(300), "created_at": at(300), "deleted": True}
        for n in sorted(numbers)
    ]
    return pl.DataFrame(rows, schema=ITEMS.schema).select(DESCRIBED)


def vectors_of(states):
    """A vector for each content of an item, from when on it was the item's."""
    made = [
        {
            "item_id": row["item_id"],
            "vector": unit([int(row["item_id"][1:]), ord(row["content_hash"])]),
            "model_version": "v",
            "since": row["since"],
        }
        for row in states.iter_rows(named=True)
    ]
    schema = {"item_id": pl.String, "vector": pl.List(pl.Float32), "model_version": pl.String}
    return pl.DataFrame(made, schema=schema | {"since": states.schema["since"]})


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=3)
    return (vector / np.linalg.norm(vector)).tolist()


def rows_of(events, records, gone, days):
    pages = pages_of(events)
    states = item_histories(records, tombstones(gone), Landings.of(events))
    centred = CentredEmbeddings.of(vectors_of(states), CENTRING)
    asked = pages.impressions.filter(pl.col("ts").dt.date().is_in(days))
    if asked.is_empty():
        return asked
    counts = cooccurrence(pages.events)
    made = build_features(
        asked, pages.events, states, vectors_of(states), centred=centred, counts=counts
    )
    return made.frame


@example(  # the page would date the click, which is history by then, two hours later
    before=[("u", 4, "click", 41, 2), ("u", 1, "impression", 75, 2)],
    after=[("u", 0, "impression", 43, 47)],
    edited=[],
    gone=set(),
)
@settings(max_examples=25, deadline=None)
@given(
    before=st.lists(early, min_size=4, max_size=30),
    after=st.lists(late, max_size=12),
    edited=st.lists(edits, max_size=6),
    gone=st.sets(items),
)
def test_rows_of_settled_days_do_not_change_whatever_lands_later(before, after, edited, gone):
    known = log(before, lambda row: row[3] + row[4])
    came = log(after, lambda row: SETTLED + row[4]).with_columns(
        event_id="late " + pl.col("event_id")
    )
    first = [(n, "x", -55, -55) for n in range(NUM_ITEMS)]
    records = versions(first)
    more = versions([*first, *((n, c, updated, SETTLED + at) for n, c, updated, at in edited)])
    settling = pages_of(known).settling.filter(pl.col("settles_at") <= at(SETTLED))
    days = settling["day"].implode()
    assert len(settling) == pages_of(known).impressions["ts"].dt.date().n_unique()
    then = rows_of(known, records, set(), days)
    now = rows_of(pl.concat([known, came]), more, gone, days)
    assert_frame_equal(now, then, check_exact=True)
