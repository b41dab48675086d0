"""Any log: the features of a live request are those that a table of the whole log has.

What is kept in memory is grown in steps: some events at first, some later, some that come out of
order; and asked while part of it is fresh and part merged.
"""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS, TIME
from features.activity import Activity, ActivityConfig, ActivityStore, ActivityView
from features.behaviour_spaces import BehaviourSpaces
from features.centred_embeddings import CentredEmbeddings, codes_column
from features.centring import Centring
from features.cooccurrence import cooccurrence
from features.daily_sums import days_of
from features.groups import GROUPS
from features.item_states import ItemStates
from features.live import LiveRequest, given_acts, known_now, live_features
from features.neighbours import Neighbours
from features.table import FeatureConfig, build_features

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=60, minutes=1)
CONFIG = ActivityConfig()
ITEMS = [f"i{n}" for n in range(9)]  # the last two have no vector, and the last no state

SPACES = BehaviourSpaces(
    days_of(pl.Series([START + timedelta(days=1), START + timedelta(days=2)])),
    pl.Series(ITEMS[2:]),
    np.array([[(math.cos(n), math.sin(n)) for n in range(7)] for _ in range(2)], dtype=np.float32),
)
CENTRES = ((1.0, 0.0, 0.0), (-0.6, 0.8, 0.0), (-0.6, -0.8, 0.0))
CENTRING = Centring("v", (0.1, 0.0, -0.1), (-0.2, 0.1, 0.5), CENTRES, SPACES, codes_id="c")

EVERYTHING = FeatureConfig(groups=GROUPS)

rows = st.tuples(
    st.sampled_from("uvw"),
    st.sampled_from(ITEMS),
    st.sampled_from(["impression", "click", "like", "skip", "rating", "purchase"]),
    st.sampled_from([None, 2.0, 4.0]),
    st.integers(0, 70),
)
logs = st.lists(rows, max_size=40)


def events_of(log):
    return pl.DataFrame(
        [
            {"event_id": str(n), "user_id": user, "item_id": item, "action": action}
            | {"value": value, "ts": START + timedelta(hours=hour)}
            for n, (user, item, action, value, hour) in enumerate(log)
        ],
        schema=EVENTS.schema,
    )


def states():
    """An item's category and price change every ten hours; created when it is first known."""
    made = [
        (
            item,
            "xyz"[(n + change) % 3],
            float(n + change),
            START + timedelta(hours=5 * n),
            START + timedelta(hours=10 * change),
        )
        for n, item in enumerate(ITEMS[:-1])
        for change in range(1 + n % 3)
    ]
    names = ["item_id", "category", "price", "created_at", "since"]
    types = [pl.String, pl.String, pl.Float64, TIME, TIME]
    return pl.DataFrame(made, schema=dict(zip(names, types, strict=True)), orient="row")


def vectors():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(7, 3)).astype(np.float32)
    matrix[4] = matrix[2]  # exact duplicates
    return pl.Series(ITEMS[:7]), matrix


def codes():
    """Of the vectors; duplicates have the same."""
    return np.array([[0, 1], [0, 1], [0, 2], [1, 2], [0, 2], [1, 0], [0, 1]], dtype=np.int32)


def in_parts(events, cuts):
    """What is known when events came in portions, the first two merged."""
    portions = [events[begin:end] for begin, end in zip([0, *cuts], [*cuts, None], strict=True)]
    parts = [Activity.of(each.lazy().filter(pl.col("ts") < NOW), CONFIG) for each in portions]
    return ActivityView([parts[0].merged(parts[1], CONFIG), *parts[2:]], CONFIG)


def live(activity, events, user, asked, acts=None, config=EVERYTHING):
    known = known_now(
        LiveRequest(version="v", user_id=user, item_ids=asked, now=NOW, acts=acts),
        activity=activity,
        states=ItemStates.of(states()),
        vectors=vectors(),
        codes_VL=codes(),
        neighbours=Neighbours.of(cooccurrence(events, with_swing=config.with_swing)),
    )
    return live_features(known, CENTRING, config=config).frame.drop("request_id")


def table(events, user, asked, config=EVERYTHING):
    impressions = pl.DataFrame({"item_id": asked}).select(
        request_id=pl.lit("r"), user_id=pl.lit(user), item_id="item_id", ts=pl.lit(NOW, TIME)
    )
    ids, matrix = vectors()
    lists = pl.Series(matrix.tolist(), dtype=pl.List(pl.Float32))
    embeddings = pl.DataFrame({"item_id": ids, "vector": lists, "model_version": "v"})
    told = pl.Series(codes().tolist(), dtype=pl.List(pl.Int32)).alias(codes_column("c"))
    centred = CentredEmbeddings.of(embeddings.with_columns(told), CENTRING)
    made = build_features(impressions, events, states(), embeddings, config=config, centred=centred)
    return made.frame.drop("request_id").sort("item_id")


@settings(max_examples=60, deadline=None)
@given(
    log=logs,
    cuts=st.tuples(st.integers(0, 20), st.integers(20, 40)),
    user=st.sampled_from("uvwx"),
    asked=st.lists(st.sampled_from(ITEMS), min_size=1, max_size=9, unique=True),
)
def test_a_live_request_has_the_features_of_a_table_of_the_whole_log(log, cuts, user, asked):
    events = events_of(log)
    got = live(in_parts(events, cuts), events, user, asked)
    expected = table(events, user, asked)
    # A candidate that is as near as another to 1e-7 may change places with it.
    assert_frame_equal(got, expected, abs_tol=1e-5, rel_tol=1e-5)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_has_the_columns_that_it_has_among_all(group):
    log = [("u", f"i{n}", action, None, 5 * n) for n, action in enumerate(["like", "skip"] * 4)]
    log += [("v", f"i{n}", "like", None, 3 * n) for n in range(6)]
    events, asked, alone = events_of(log), ITEMS[:6], FeatureConfig(groups=(group,))
    names = [feature.name for feature in alone.features]
    view = ActivityView.of_events(events, NOW)
    for whole, part in (
        (live(view, events, "u", asked), live(view, events, "u", asked, config=alone)),
        (table(events, "u", asked), table(events, "u", asked, config=alone)),
    ):
        assert part.columns[-len(names) :] == names
        assert len(part.columns) == len(names) + 3  # user, item and time
        assert_frame_equal(part.select(names), whole.select(names), abs_tol=1e-5)


def test_given_items_are_a_history_of_their_own():
    log = [("u", "i3", "like", None, 3), ("v", "i5", "like", None, 4)]
    acts = given_acts(["i1", "i2"], NOW)
    likes = pl.DataFrame(
        [
            {"event_id": f"x{n}", "user_id": "new", "item_id": item, "action": "like"}
            | {"ts": NOW - timedelta(minutes=n)}
            for n, item in enumerate(["i1", "i2"], start=1)
        ],
        schema=EVENTS.schema,
    )
    events = events_of(log)
    got = live(ActivityView.of_events(events, NOW), events, "new", ["i0", "i3"], acts)
    whole = table(pl.concat([events, likes]), "new", ["i0", "i3"])
    assert_frame_equal(got, whole, abs_tol=1e-5)


def test_what_is_kept_follows_the_lake_in_order_or_not(tmp_path):
    lake = Lake(str(tmp_path))
    rng = np.random.default_rng(1)
    log = [
        (
            rng.choice(list("uvw")),
            rng.choice(ITEMS),
            rng.choice(["like", "impression", "skip"]),
            None,
            int(rng.integers(70)),
        )
        for _ in range(60)
    ]
    events, clock = events_of(log), [START + timedelta(hours=30)]
    store = ActivityStore(lake, fresh_rows=15, now=lambda: clock[0])
    for begin in range(0, 60, 10):
        lake.insert_new(EVENTS, events[begin : begin + 10])
        assert store.refresh()
        check(store, events[: begin + 10], clock[0])
    assert not store.refresh()
    clock[0] = NOW  # what was to come has come
    assert store.refresh()
    check(store, events, NOW)
    lake.delete(EVENTS, events[5:9])
    assert store.refresh()
    check(store, pl.concat([events[:5], events[9:]]), NOW)


def check(store, events, now):
    """The store tells of the events before a moment what they themselves tell."""
    before = events.filter(pl.col("ts") < now)
    ids = pl.Series([*ITEMS, "other"])
    shown, liked, popularity = store.view().of_items(ids, now)
    for n, item in enumerate(ids):
        own = before.filter(item_id=item)
        assert shown[n] == (own["action"] == "impression").sum()
        ages = [(now - ts) / timedelta(days=7) for ts in own.filter(action="like")["ts"]]
        assert liked[n] == len(ages)
        assert popularity[n] == pytest.approx(sum(0.5**age for age in ages), rel=1e-12)
    for user in "uvwx":
        own = before.filter(user_id=user)
        num, acts = store.view().of_user(user)
        assert num == len(own)
        expected = own.filter(pl.col("action") != "impression").select(
            *("user_id", "ts", "item_id"),
            is_liked=pl.col("action") == "like",
            is_strong=pl.col("action") == "like",
            is_skipped=pl.col("action") == "skip",
        )
        by = ["ts", "item_id", "is_liked"]
        assert_frame_equal(acts.sort(by), expected.sort(by))
