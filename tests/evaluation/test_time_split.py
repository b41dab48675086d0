"""Tests for evaluation/time_split.py."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from evaluation.time_split import TimeSplit, split_by_time

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def frame(*rows):
    """Rows of (request, hours after noon)."""
    return pl.DataFrame(
        [(request, NOON + timedelta(hours=h)) for request, h in rows],
        schema={"request_id": pl.String, "ts": pl.Datetime("us", "UTC")},
        orient="row",
    )


def test_the_moment_itself_belongs_to_the_test():
    train, test = split_by_time(frame(("a", -1), ("b", 0), ("c", 1)), TimeSplit(at=NOON))
    assert (train["request_id"].to_list(), test["request_id"].to_list()) == (["a"], ["b", "c"])


def test_gap_is_used_by_neither():
    split = TimeSplit(at=NOON, gap=timedelta(hours=2))
    train, test = split_by_time(frame(("a", -3), ("b", -2), ("c", -1), ("d", 0)), split)
    assert (train["request_id"].to_list(), test["request_id"].to_list()) == (["a"], ["d"])


def test_empty_side_is_refused():
    with pytest.raises(ValueError, match="got none to test"):
        split_by_time(frame(("a", -1)), TimeSplit(at=NOON))


def test_split_needs_a_time_zone():
    with pytest.raises(ValueError, match="must carry a time zone"):
        TimeSplit(at=datetime(2026, 1, 1))  # noqa: DTZ001
