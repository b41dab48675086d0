"""Tests for ponder/reports/run/reasoning.py: the account that a report opens with."""

import pytest

from ponder.reports.run.reasoning import account, still_wrong, turned_right


def example(query_id, tier, action, direct, found, relevant="right"):
    return {
        "query_id": query_id,
        "tier": tier,
        "action": action,
        "found_direct": [direct],
        "found": [found],
        "relevant": [relevant],
    }


EXAMPLES = [
    example("q4", "composed", "reason", "wrong", "right"),
    example("q1", "composed", "reason", "wrong", "wrong"),
    example("q2", "composed", "reason", "wrong", "right"),
    example("q3", "literal", "direct", "wrong", "right"),  # cannot be: it did not reason
    example("q5", "literal", "reason", "right", "right"),
]
QUERIES = {
    "num_queries": 5,
    "examples": EXAMPLES,
    "policies": {
        policy: {
            "seconds": seconds,
            "slices": {
                name: {"num_queries": num, "hit@1": hit}
                for name, num in (("all", 5), ("literal", 2), ("composed", 3), ("held_out", 2))
            },
        }
        for policy, seconds, hit in (("never", 0.5, 0.2), ("auto", 1.0, 0.8), ("always", 2.0, 0.9))
    },
}


def test_what_reasoning_turned_right_was_wrong_without_it_and_comes_by_id():
    assert [one["query_id"] for one in turned_right(EXAMPLES)] == ["q2", "q4"]
    assert [one["query_id"] for one in still_wrong(EXAMPLES)] == ["q1"]


def test_tiers_have_their_hits_and_rates_and_policies_their_price():
    worth = account(QUERIES)
    assert [tier["name"] for tier in worth["tiers"]] == ["literal", "composed", "all"]
    assert [tier["reason_rate"] for tier in worth["tiers"]] == [1 / 2, 1, 4 / 5]
    assert worth["tiers"][0]["hits"] == {"never": 0.2, "auto": 0.8, "always": 0.9}
    # 0.5 s for 5 queries are 100 ms each.
    assert worth["price"]["never"] == pytest.approx({"ms": 100, "times": 1})
    assert worth["price"]["always"] == pytest.approx({"ms": 400, "times": 4})


def test_without_queries_there_is_nothing_to_tell():
    assert account(None)["tiers"] == []
