"""Tests for ponder/cli/status.py: an audit's exit code, and what a repair says."""

import json


def test_an_audit_of_nothing_agrees_and_one_that_differs_exits_with_1(ponder, lake):
    assert json.loads(ponder("audit", "--json").stdout)["agrees"]
    ponder("dead-letters", "replay")
    result = ponder("audit", "--json")
    assert result.exit_code == 1
    [fault] = json.loads(result.stdout)["faults"]
    assert (fault["name"], fault["count"], fault["first"]) == ("missing_embeddings", 1, ["a"])
    assert "missing_embeddings" in ponder("audit").stdout


def test_a_repair_mends_says_what_it_did_and_exits_with_0(ponder, lake):
    ponder("dead-letters", "replay")
    result = ponder("audit", "--repair", "--json")
    assert result.exit_code == 0
    reply = json.loads(result.stdout)
    assert reply["agrees"]
    assert reply["repaired"] == {"missing_embeddings": 1, "index": 1}
