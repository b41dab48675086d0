"""Tests for ranker/training_table.py: pages that one ranker is learnt from."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from catalog.lake.tables import EVENTS, ITEMS
from features.log import Log
from ranker.training import train
from ranker.training_rows import MAX_GROUP_ROWS
from ranker.training_table import newest
from tests.ranker.tables import training_table

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDS = [f"i{n}" for n in range(8)]


def page(request, user, items, hours, clicked=()):
    """Impressions of items, and clicks a second later."""
    common = {"request_id": request, "user_id": user}
    at = NOON + timedelta(hours=hours)
    shown = [common | {"item_id": i, "action": "impression", "ts": at} for i in items]
    later = at + timedelta(seconds=1)
    return shown + [common | {"item_id": i, "action": "click", "ts": later} for i in clicked]


PAGES = [row for n in range(12) for row in page(f"r{n}", f"u{n % 3}", IDS[:4], n, [IDS[n % 4]])]


def log_of(rows):
    items = [
        {"item_id": item, "category": "c", "created_at": NOON, "updated_at": NOON}
        | {"deleted": False, "content_hash": "h"}
        for item in IDS
    ]
    vectors = [[float(n == k) for k in range(8)] for n in range(8)]
    return Log(
        pl.DataFrame([r | {"event_id": str(n)} for n, r in enumerate(rows)], schema=EVENTS.schema),
        pl.DataFrame(items, schema=ITEMS.schema),
        pl.DataFrame(
            {"item_id": IDS, "vector": vectors, "model_version": "v"},
            schema_overrides={"vector": pl.List(pl.Float32)},
        ),
    )


@pytest.mark.parametrize("over", [0, 1])
def test_a_page_longer_than_the_ranker_takes_is_left_out_and_counted(over):
    crawl = page("endless", "bot", [f"s{n}" for n in range(MAX_GROUP_ROWS + over)], 3)
    made = training_table(log_of(PAGES + crawl))
    assert made.protocol == "impressions"
    assert made.pages.oversized_pages == over
    assert made.table.num_requests == 13 - over
    train(made.table)  # LightGBM takes what is left


def test_a_request_of_two_users_is_two_groups_to_learn_from():
    made = training_table(log_of(PAGES + page("r1", "other", IDS[:2], 1, IDS[:1])))
    assert made.table.num_requests == 13
    train(made.table)


def test_the_place_at_which_an_item_was_shown_is_kept_and_is_no_feature():
    rows = [row | {"position": IDS.index(row["item_id"])} for row in PAGES]
    table = training_table(log_of(rows)).table
    assert table.frame["position"].to_list() == [IDS.index(i) for i in table.frame["item_id"]]
    assert "position" not in [feature.name for feature in table.features]


def test_the_newest_share_never_holds_the_oldest_moment():
    moments = [NOON] * 9 + [NOON + timedelta(hours=1)]
    frame = pl.DataFrame({"request_id": [str(n) for n in range(10)], "user_id": "u", "ts": moments})
    assert newest(frame, 0.2) == NOON + timedelta(hours=1)
    assert newest(frame.with_columns(ts=pl.lit(NOON)), 0.2) == NOON
