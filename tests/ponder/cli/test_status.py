"""Tests for ponder/cli/status.py: an audit's exit code, and what a repair says."""

import json


def test_an_audit_of_nothing_agrees_and_one_that_differs_exits_with_1(ponder, lake):
    assert json.loads(ponder("audit", "--json").stdout)["agrees"]
    ponder("dead-letters", "replay")
    result = ponder("audit", "--json")
    assert result.exit_code == 1
    faults = {
        each["name"]: (each["count"], each["first"]) for each in json.loads(result.stdout)["faults"]
    }
    assert faults == {"missing_embeddings": (1, ["a"]), "nothing_live": (1, ["a"])}
    assert "missing_embeddings" in ponder("audit").stdout


def test_a_repair_mends_says_what_it_did_and_what_is_left_to_do(ponder, lake):
    ponder("dead-letters", "replay")
    result = ponder("audit", "--repair", "--json")
    assert result.exit_code == 1
    reply = json.loads(result.stdout)
    assert [each["name"] for each in reply["faults"]] == ["nothing_live"]
    assert "`ponder promote`" in reply["advice"][0]
    assert ponder("promote").exit_code == 0
    result = ponder("audit", "--json")
    assert (result.exit_code, json.loads(result.stdout)["agrees"]) == (0, True)
    assert reply["repaired"] == {"missing_embeddings": 1, "index": 1}
