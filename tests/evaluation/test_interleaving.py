"""Tests for evaluation/interleaving.py."""

import polars as pl
import pytest

from evaluation.interleaving import interleaving_outcome


def choices(*rows):
    return pl.DataFrame(rows, schema=["request_id", "user_id", "team"], orient="row")


def test_a_request_is_won_by_the_team_with_more_choices():
    found = interleaving_outcome(
        choices(
            *[("r1", "u", "a"), ("r1", "u", "a"), ("r1", "u", "b")],
            *[("r2", "u", "a")],
            *[("r3", "v", "b"), ("r3", "v", "a")],
            *[("r4", "w", "b")],
        )
    )
    assert (found.num_requests, found.wins_a, found.wins_b, found.ties) == (4, 2, 1, 1)
    assert found.preference.mean == (2 - 1) / 4


def test_whole_users_are_drawn():
    alone = interleaving_outcome(choices(*[(f"r{n}", "one", "ab"[n % 2]) for n in range(40)]))
    many = interleaving_outcome(choices(*[(f"r{n}", f"u{n}", "ab"[n % 2]) for n in range(40)]))
    assert alone.preference.low == alone.preference.high == 0
    assert many.preference.low < 0 < many.preference.high


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (choices(("r", "u", "c")), r"team must be a or b, got \['c'\]"),
        (choices(("r", "u", None)), r"team must be a or b, got \[None\]"),
        (choices().with_columns(pl.all().cast(pl.String)), "there must be choices"),
        (choices(("r", "u", "a")).drop("team"), r"got none named \['team'\]"),
    ],
)
def test_what_are_no_choices_is_refused(frame, complaint):
    with pytest.raises(ValueError, match=complaint):
        interleaving_outcome(frame)
