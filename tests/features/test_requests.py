"""Tests for features/requests.py."""

from datetime import UTC, datetime

import polars as pl

from features.requests import numbered, requests_of

DAY = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2)]
ROWS = pl.DataFrame(
    [
        ("r", "v", DAY[1], "a"),
        ("r", "u", DAY[0], "a"),
        ("r", "v", DAY[1], "b"),
        ("r", "v", DAY[0], "b"),
        (None, "v", DAY[0], "b"),
        ("r", "u", DAY[0], "b"),
        (None, "v", DAY[0], "c"),
    ],
    schema=["request_id", "user_id", "ts", "item_id"],
    orient="row",
)


def test_user_and_moment_tell_requests_of_one_id_apart():
    assert numbered(ROWS)["request"].to_list() == [0, 1, 0, 2, 3, 1, 3]
    assert numbered(ROWS).drop("request").equals(ROWS)


def test_requests_stand_in_the_order_of_their_numbers():
    assert requests_of(ROWS).rows() == [
        (0, "r", "v", DAY[1]),
        (1, "r", "u", DAY[0]),
        (2, "r", "v", DAY[0]),
        (3, None, "v", DAY[0]),
    ]
