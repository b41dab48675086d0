"""Tests for ponder/reports/run/examples.py."""

import pytest

from ponder.reports.run.examples import first_right, worth_seeing


def example(query_id, rank, *, tier="literal", action="direct"):
    """A query whose only right item was found at `rank`; 0 when it was not found."""
    found = ["right" if rank == n else f"wrong{n}" for n in range(1, 5)]
    return {
        "query_id": query_id,
        "tier": tier,
        "action": action,
        "found": found,
        "relevant": ["right"],
    }


def ids(examples):
    return [e["query_id"] for e in examples]


@pytest.mark.parametrize(("rank", "expected"), [(1, 1), (4, 4), (0, None)])
def test_first_right_is_a_rank_from_one(rank, expected):
    assert first_right(example("q", rank)) == expected


def test_the_worst_failure_a_success_and_a_rationale_are_always_among_them():
    asked = [example(f"q{n}", 1) for n in range(5)]
    asked += [example("q5", 2), example("q6", 0), example("q7", 3)]
    asked += [example("q8", 1, action="reason")]
    assert ids(worth_seeing(asked, per_tier=3)) == ["q0", "q6", "q8"]


def test_one_query_may_be_all_that_is_looked_for_and_others_follow_in_order():
    asked = [example("q2", 0, action="reason"), example("q1", 0), example("q0", 0)]
    assert ids(worth_seeing(asked, per_tier=2)) == ["q0", "q2"]


def test_tiers_come_in_order_of_appearance():
    asked = [example("q1", 1, tier="hard"), example("q0", 1, tier="easy")]
    assert ids(worth_seeing(asked)) == ["q1", "q0"]


def test_the_choice_does_not_depend_on_the_order_within_a_tier():
    asked = [example(f"q{n}", n % 3) for n in range(9)]
    assert ids(worth_seeing(asked)) == ids(worth_seeing(asked[::-1]))
