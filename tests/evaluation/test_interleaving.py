"""Tests for evaluation/interleaving.py."""

import numpy as np
import polars as pl
import pytest

from evaluation.interleaving import interleaved_requests, interleaving_outcome, team_draft


class Coins:
    """Tosses what it was given: heads, and a begins."""

    def __init__(self, tosses):
        self.tosses = list(tosses)

    def random(self):
        return 0.0 if self.tosses.pop(0) == "a" else 0.9


@pytest.mark.parametrize(
    ("tosses", "drafted"),
    [
        ("ab", [("x", "a"), ("y", "b"), ("w", "b"), ("z", "a")]),  # b's best, x, is taken
        ("ba", [("x", "b"), ("y", "a"), ("z", "a"), ("w", "b")]),
    ],
)
def test_each_team_puts_in_its_best_item_that_is_not_there(tosses, drafted):
    assert team_draft("xyz", "xyw", top_k=4, rng=Coins(tosses)) == drafted


def test_a_draft_ends_with_the_lists_or_when_it_is_long_enough():
    assert team_draft("x", "x", top_k=5, rng=Coins("bb")) == [("x", "b")]
    assert team_draft("xyz", "", top_k=5, rng=Coins("aaaa")) == [("x", "a"), ("y", "a"), ("z", "a")]
    assert team_draft("xyz", "wvu", top_k=1, rng=Coins("b")) == [("w", "b")]


def test_equal_rankers_win_equally_often():
    rng = np.random.default_rng(0)
    teams = [team_draft("xyz", "xyz", top_k=3, rng=rng)[0][1] for _ in range(4_000)]
    assert teams.count("a") == pytest.approx(2_000, abs=4 * 32)  # four standard deviations


def both(*requests):
    """What two rankers say of each request: three items, in opposite orders."""
    rows = [
        (request, team, item, rank)
        for request in requests
        for team, order in (("a", "xyz"), ("b", "zyx"))
        for rank, item in enumerate(order, start=1)
    ]
    return pl.DataFrame(rows, schema=["request_id", "team", "item_id", "rank"], orient="row")


def test_a_request_gets_one_list_however_often_and_with_whatever_others_it_is_asked():
    ids = [f"r{n}" for n in range(30)]
    made = interleaved_requests(both(*ids), top_k=2, seed=1)
    assert made["place"].to_list() == [1, 2] * 30
    alone = interleaved_requests(both("r7").sample(fraction=1, shuffle=True), top_k=2, seed=1)
    assert alone.equals(made.filter(request_id="r7"))
    assert not made.equals(interleaved_requests(both(*ids), top_k=2, seed=2))
    assert set(made.filter(place=1)["item_id"]) == {"x", "z"}


def test_an_item_that_a_team_ranks_twice_is_refused():
    lists = both("r")
    with pytest.raises(ValueError, match="ranks twice"):
        interleaved_requests(pl.concat([lists, lists.head(1)]), top_k=2)


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
