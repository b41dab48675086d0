"""Tests for features/context.py: hand-made logs, and a brute-force count over random ones."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.tables import EVENTS, TIME
from features.context import ContextConfig, context_features, count_before, decayed_count
from features.schema import CONTEXT_FEATURES

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def events(*rows):
    """Rows of (user, item, action, hours after noon)."""
    return pl.DataFrame(
        [
            {"event_id": str(i), "user_id": u, "item_id": item, "action": a}
            | {"ts": NOON + timedelta(hours=h)}
            for i, (u, item, a, h) in enumerate(rows)
        ],
        schema=EVENTS.schema,
    )


def impressions(*rows):
    """Rows of (user, item, hours after noon)."""
    return pl.DataFrame(
        [("r", u, item, NOON + timedelta(hours=h)) for u, item, h in rows],
        schema={"request_id": pl.String, "user_id": pl.String, "item_id": pl.String, "ts": TIME},
        orient="row",
    )


def items(**rows):
    """Item -> (category, hours after noon at which it was created)."""
    return pl.DataFrame(
        [(item, category, NOON + timedelta(hours=h)) for item, (category, h) in rows.items()],
        schema={"item_id": pl.String, "category": pl.String, "created_at": TIME},
        orient="row",
    )


CATALOGUE = items(a=("film", -10), b=("film", 0), c=("song", 5))


def test_hand_counted_row():
    log = events(
        ("u", "a", "impression", 0),
        ("u", "a", "click", 0.1),
        ("v", "a", "impression", 1),
        ("u", "b", "click", 1),
        ("u", "c", "click", 1.5),
        ("u", "a", "click", 2),  # the moment of the request: not counted
        ("v", "a", "click", 3),
    )
    config = ContextConfig(prior_rate=0.1, prior_impressions=10, popularity_half_life_days=1)
    row = context_features(impressions(("u", "a", 2)), log, CATALOGUE, config=config).row(
        0, named=True
    )
    assert row == {
        "item_impressions": 2,
        "item_positives": 1,
        "item_rate": pytest.approx((1 + 1) / (2 + 10)),
        "item_popularity": pytest.approx(2 ** (-1.9 / 24)),
        "item_age_h": 12.0,
        "item_price": None,  # the catalogue tells none
        "user_events": 4,
        "user_positives": 3,
        "user_category_share": pytest.approx(2 / 3),
    }


def test_columns_are_those_of_the_schema():
    got = context_features(impressions(("u", "a", 2)), events(), CATALOGUE)
    assert {name: str(t) for name, t in got.schema.items()} == {
        f.name: f.dtype for f in CONTEXT_FEATURES
    }


def test_unknown_item_and_new_user_keep_their_row():
    got = context_features(impressions(("new", "x", 2), ("new", "c", 2)), events(), CATALOGUE)
    assert got["item_age_h"].to_list() == [None, None]  # c appears three hours later
    assert got["user_category_share"].to_list() == [None, None]
    assert got["item_impressions"].to_list() == [0, 0]


def test_item_never_shown_has_the_prior_rate():
    log = events(*(("u", "a", "click", h) for h in range(30)))
    got = context_features(impressions(("u", "a", 99)), log, CATALOGUE)
    assert got["item_rate"][0] == pytest.approx(0.05)


def random_log(seed, num_events=400):
    rng = np.random.default_rng(seed)
    return events(
        *(
            (f"u{rng.integers(5)}", f"i{rng.integers(8)}", "click", h)
            for h in rng.integers(0, 24 * 3000, size=num_events).tolist()  # eight years
        )
    )


def test_counts_agree_with_brute_force():
    log, asked = random_log(0), random_log(1)
    got = count_before(asked, log, by=["user_id", "item_id"]).to_list()
    rows = log.select("user_id", "item_id", "ts").rows()
    assert got == [
        sum(u == user and i == item and t < ts for u, i, t in rows)
        for user, item, ts in asked.select("user_id", "item_id", "ts").iter_rows()
    ]


@pytest.mark.parametrize("half_life_days", [0.5, 7, 1000])
def test_popularity_agrees_with_the_sum_over_years(half_life_days):
    log, asked = random_log(2), random_log(3)
    got = decayed_count(asked, log, half_life_days=half_life_days).to_list()
    rows = log.select("item_id", "ts").rows()
    expected = [
        sum(
            0.5 ** ((ts - t).total_seconds() / 86_400 / half_life_days)
            for i, t in rows
            if i == item and t < ts
        )
        for item, ts in asked.select("item_id", "ts").iter_rows()
    ]
    # Logarithms reach 5e4 here, so a double leaves 1e-11 of them.
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-30)


def test_position_is_not_a_feature():
    assert not any("position" in feature.name for feature in CONTEXT_FEATURES)
