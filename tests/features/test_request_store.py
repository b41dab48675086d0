"""Tests for features/request_store.py and features/user_parts.py: parts come to the whole."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from catalog.lake.tables import EVENTS, LANDED_AT, TIME
from features.centred_embeddings import CentredEmbeddings, history_pairs
from features.centring import Centring
from features.cooccurrence import cooccurrence
from features.histories import histories
from features.pages import LogDates, PageCounts, PageEvidence, num_shared, pages_of
from features.request_store import RequestStore
from features.requests import REQUEST_KEY, requests_of, whole_requests
from features.table import build_features
from features.user_parts import by_users

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ITEMS = pl.DataFrame(
    {"item_id": [f"i{n}" for n in range(9)], "category": ["a", "b", None] * 3}
).with_columns(created_at=pl.lit(NOON - timedelta(days=9), TIME))


@pytest.fixture(scope="module")
def log():
    """A log of four days in which ids are shared, last long, or are blank, and news comes late."""
    rng = np.random.default_rng(3)
    actions = ["impression"] * 6 + ["click", "like", "skip", "rating"]
    rows = [
        {
            "event_id": str(n),
            "request_id": rng.choice(["r1", "r2", "r3", f"s{n % 40}", "", None]),
            "user_id": f"u{rng.integers(7)}",
            "item_id": f"i{rng.integers(10)}",
            "action": rng.choice(actions),
            "value": float(rng.integers(1, 6)),
            "position": None,
            "ts": NOON + timedelta(hours=12 * int(rng.integers(8)), minutes=int(rng.integers(90))),
        }
        for n in range(900)
    ]
    frame = pl.DataFrame(rows, schema=EVENTS.schema)
    late_h = pl.Series(rng.choice([1, 1, 1, 30, 80], len(rows)))
    return frame.with_columns((pl.col("ts") + late_h * pl.duration(hours=1)).alias(LANDED_AT))


@pytest.fixture(scope="module")
def parts(log, tmp_path_factory):
    """Pages made of some users at a time."""
    folder, dates = tmp_path_factory.mktemp("parts"), LogDates.of(log.lazy())
    found = list(by_users(log.lazy(), folder, rows_at_once=200))
    return [(part, pages_of(part, max_items=3, dates=dates)) for part in found]


@pytest.fixture(scope="module")
def store(parts, tmp_path_factory):
    store = RequestStore(tmp_path_factory.mktemp("store"))
    for _, pages in parts:
        store.add(pages.impressions, pages.events)
    return store


def test_a_users_events_are_in_one_part_and_each_is_there_once(log, parts):
    assert len(parts) > 2
    users = [set(part["user_id"]) for part, _ in parts]
    assert sum(map(len, users)) == len(set.union(*users))
    every = pl.concat([part for part, _ in parts]).sort("event_id")
    assert_frame_equal(every, log.sort("event_id"))


def test_pages_of_parts_come_to_those_of_the_log(log, parts, store):
    whole = pages_of(log, max_items=3)
    days = list(store.num_rows())
    assert_frame_equal(store.requests_between(days[0], days[-1]), whole.impressions)
    shared = num_shared(pl.concat([pages.request_ids for _, pages in parts]))
    counts = PageCounts.together([pages.counts for _, pages in parts], shared_requests=shared)
    assert counts == whole.counts
    wrong = ("shared_requests", "lasting_requests", "oversized_pages", "late_events")
    assert not set(wrong) - counts.oddities().keys()
    together = PageEvidence.together([pages.evidence for _, pages in parts])
    assert together == whole.evidence
    assert together.teaches()
    for _, pages in parts:
        assert_frame_equal(pages.settling, whole.settling, check_row_order=False)


def test_rows_moments_and_pairs_are_those_of_the_log(log, store):
    whole = pages_of(log, max_items=3)
    per_day = whole.impressions.group_by(pl.col("ts").dt.date()).len().sort("ts")
    assert list(store.num_rows().items()) == per_day.rows()
    asked = requests_of(whole.impressions)
    assert store.moments().equals(asked["ts"].sort().rename("ts"))
    first, before = NOON + timedelta(days=1), NOON + timedelta(days=3)
    window = asked.filter(pl.col("ts") >= first, pl.col("ts") < before)
    assert store.window(first, before) == (window["ts"].min(), window["ts"].max())
    assert store.window(before + timedelta(days=9), None) is None
    assert_frame_equal(store.pairs(first, before), history_pairs(histories(window, whole.events)))


@pytest.mark.parametrize("num_rows", [25, 10_000])
def test_features_of_what_is_known_are_those_of_the_whole_log(log, store, num_rows):
    whole = pages_of(log, max_items=3)
    vectors_ND = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    vectors = ITEMS.select(
        "item_id", vector=pl.Series(vectors_ND.tolist(), dtype=pl.List(pl.Float32))
    )
    vectors = vectors.with_columns(model_version=pl.lit("v"))
    centring = Centring("v", (0.0,) * 4, (-0.5, 0.0, 0.5))
    given = {
        "centred": CentredEmbeddings.of(vectors, centring),
        "counts": cooccurrence(whole.events),
    }
    expected = build_features(whole.impressions, whole.events, ITEMS, vectors, **given).frame
    made, last = [], max(store.num_rows())
    rows = store.requests_between(min(store.num_rows()), last)
    reader = store.reader()
    for some in whole_requests(rows, num_rows):
        known = reader.known_before(some)
        table = build_features(some, known.events, ITEMS, vectors, earlier=known.earlier, **given)
        made.append(table.frame)
    assert (len(made) > 3) == (num_rows == 25)
    assert_frame_equal(pl.concat(made), expected, check_exact=True)
    assert expected["item_impressions"].max() > 30


def test_what_is_past_is_not_asked_for_again(store):
    newest = store.requests_between(max(store.num_rows()), max(store.num_rows()))
    oldest = store.requests_between(min(store.num_rows()), min(store.num_rows()))
    reader = store.reader()
    reader.known_before(newest)
    with pytest.raises(ValueError, match="in order of time"):
        reader.known_before(oldest)


def test_requests_are_never_cut(store):
    rows = store.requests_between(min(store.num_rows()), max(store.num_rows()))
    parts = list(whole_requests(rows, 3))
    assert_frame_equal(pl.concat(parts), rows)
    of_part = [set(part.select(REQUEST_KEY).rows()) for part in parts]
    assert sum(map(len, of_part)) == len(set.union(*of_part))
    assert max(map(len, parts)) == 3
