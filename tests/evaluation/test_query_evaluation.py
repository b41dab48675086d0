"""Tests for evaluation/query_evaluation.py, with a fake encoder whose vectors are visible."""

import numpy as np
import pytest

from embedder.content import Encoding
from evaluation.exact_ranking import Catalogue
from evaluation.query_evaluation import evaluate_queries
from evaluation.query_sets import Query

AXES = ("red", "green", "blue")
CATALOGUE = Catalogue(["r1", "g1", "b1"], np.eye(3, dtype=np.float32))


RIDDLES = {"grass": "green"}


class WordEncoder:
    """Points at the axis a query names; a riddle is understood only by reasoning."""

    version = "words"
    dim = 3

    def encode_query(self, queries, *, policy=None):
        encodings = []
        for query in queries:
            is_riddle = query.text in RIDDLES
            reasons = policy == "always" or (policy == "auto" and is_riddle)
            word = RIDDLES[query.text] if is_riddle and reasons else query.text
            vector = np.array([float(word == axis) + 0.1 for axis in AXES], dtype=np.float32)
            action = "reason" if reasons else "direct"
            encodings.append(Encoding(vector / np.linalg.norm(vector), action, float(is_riddle)))
        return encodings


def query(text, *relevant, tier="literal", held_out=False):
    return Query(query_id=text, text=text, relevant=list(relevant), tier=tier, held_out=held_out)


def test_each_policy_is_measured_by_tier_and_the_gate_gets_the_riddle():
    queries = [query("red", "r1"), query("grass", "g1", tier="indirect", held_out=True)]
    report = evaluate_queries(queries, CATALOGUE, WordEncoder())
    hits = {
        policy: {name: metrics["hit@1"] for name, metrics in judged.slices.items()}
        for policy, judged in report.policies.items()
    }
    # Not understood, a riddle is equally near to everything, and ties go to the id b1.
    assert hits["never"] == {"all": 0.5, "literal": 1, "indirect": 0, "held_out": 0}
    assert hits["auto"] == {"all": 1, "literal": 1, "indirect": 1, "held_out": 1}
    rates = {policy: judged.reason_rate for policy, judged in report.policies.items()}
    assert rates == {"never": 0, "auto": 0.5, "always": 1}
    assert report.chance == pytest.approx(1 / 3)


def test_a_query_whose_answers_are_all_gone_is_left_out():
    report = evaluate_queries([query("red", "r1"), query("blue", "x")], CATALOGUE, WordEncoder())
    assert report.num_queries == 1


def test_a_prefix_is_measured_by_the_first_numbers_of_each_vector():
    queries = [query("red", "r1"), query("blue", "b1")]
    catalogue = Catalogue(
        ["r1", "g1", "b1"], np.array([[1, 0, 0], [0.1, 1, 0], [0.1, 0.1, 1]], dtype=np.float32)
    )
    report = evaluate_queries(queries, catalogue, WordEncoder(), dims=(1, 3))
    assert report.prefixes["3"]["hit@1"] == 1
    # With one number every vector is +1: all tie, the smallest id b1 wins both times.
    assert report.prefixes["1"]["hit@1"] == 0.5


def test_examples_tell_what_was_found_and_what_was_right():
    report = evaluate_queries([query("grass", "g1")], CATALOGUE, WordEncoder())
    (example,) = report.examples
    assert (example.action, example.found[0], example.relevant) == ("reason", "g1", ["g1"])
    assert example.found_direct == ["b1", "g1", "r1"]  # not understood: all tie, by id


def test_a_query_that_asks_with_an_item_needs_its_content():
    asking = Query(query_id="q", item="r1", relevant=["g1"])
    with pytest.raises(ValueError, match="must ask with a text, got 'q' with an item"):
        evaluate_queries([asking], CATALOGUE, WordEncoder())
