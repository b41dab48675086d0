"""Tests for ponder/reports/reasoning: account.py and findings.py, on vectors plain to see.

Items are the axes of a space; a query that points at its axis is right, at another one wrong.
"""

from dataclasses import asdict

import numpy as np
import pytest

from embedder.content import Content
from embedder.reasoners.paired_encodings import PairedEncodings
from embedder.reasoners.reasoner import Rationale
from evaluation.bootstrap import Interval
from evaluation.query_sets import Query, QuerySet
from ponder.reports.reasoning.account import account, sensitivity
from ponder.reports.reasoning.findings import findings

NUM = 12
AXES = np.eye(NUM, dtype=np.float32)
IDS = [f"i{n:02d}" for n in range(NUM)]


def modes(direct, reasoned, gates, tokens=4, rationales=None):
    return PairedEncodings(
        AXES[direct],
        AXES[reasoned],
        np.array(gates, dtype=float),
        np.full(len(direct), tokens),
        rationales or [Rationale(f"r{n}") for n in range(len(direct))],
        direct_s=0.012,
        reasoned_s=0.036,
        num_fallbacks=3,
    )


def query_set(tiers=None, held_out=()):
    queries = [
        Query(
            query_id=f"q{n}",
            text=f"q{n}",
            relevant=[IDS[n], "gone"],
            tier=tiers[n] if tiers else "all",
            held_out=n in held_out,
        )
        for n in range(NUM)
    ]
    return QuerySet({i: Content(i) for i in IDS}, queries)


WRONG = [(n + 1) % NUM for n in range(NUM)]
RIGHT = list(range(NUM))
ITEMS = modes(RIGHT, RIGHT, [0.0] * NUM, tokens=10)


def hit(metrics):
    return metrics["hit@1"]


def test_policies_pairings_and_gain_are_those_of_the_vectors():
    # Directly only the first 3 queries are right, with reasoning all but the first.
    queries = modes(RIGHT[:3] + WRONG[3:], WRONG[:1] + RIGHT[1:], [0.1] * 6 + [0.9] * 6)
    report = account(query_set(), queries, ITEMS, theta=0.5)
    assert hit(report.policies["never"]["all"]) == pytest.approx(3 / 12)
    assert hit(report.policies["always"]["all"]) == pytest.approx(11 / 12)
    assert hit(report.policies["auto"]["all"]) == pytest.approx(9 / 12)
    assert hit(report.pairings["reason x direct"]) == pytest.approx(11 / 12)
    assert hit(report.pairings["direct x reason"]) == pytest.approx(3 / 12)
    gain = report.gain["query"]["all"]["hit@1"]
    assert gain.mean == pytest.approx(8 / 12)
    assert 0 < gain.low < 8 / 12 < gain.high <= 1
    assert report.gain["item"]["all"]["hit@1"] == Interval(0, 0, 0)
    assert report.chance == pytest.approx(1 / 12)


def test_reasoned_items_count_where_both_sides_reason():
    swapped = modes(RIGHT, WRONG, [0.0] * 6 + [1.0] * 6)
    report = account(query_set(), modes(RIGHT, RIGHT, [0.0] * NUM), swapped, theta=0.5)
    assert hit(report.pairings["direct x direct"]) == 1
    assert hit(report.pairings["direct x reason"]) == 0
    # Item 11 has moved onto axis 0, so query 0 finds items 0 and 11 there and takes the first.
    assert hit(report.policies["auto"]["all"]) == pytest.approx(6 / 12)
    assert report.gain["item"]["all"]["hit@1"].mean == -1


def test_the_curve_gates_by_theta_and_a_coin_picks_as_many_at_random():
    # The 4 queries that reasoning helps are those that the gate is surest of.
    queries = modes(RIGHT[:8] + WRONG[8:], WRONG[:8] + RIGHT[8:], [0.2] * 8 + [0.5] * 4)
    report = account(query_set(), queries, ITEMS, theta=0.5)
    curve = {point.theta: point for point in report.curve}
    assert curve[0].query_rate == 1
    assert hit(curve[0].queries) == hit(curve[0].coin) == pytest.approx(4 / 12)
    assert hit(curve[1.05].queries) == hit(curve[1.05].coin) == pytest.approx(8 / 12)
    assert curve[0.5].query_rate == pytest.approx(4 / 12)
    assert hit(curve[0.5].queries) == 1
    # A third of the picks are right reasoned about, two thirds of the rest right directly.
    assert hit(curve[0.5].coin) == pytest.approx(4 / 12 * 4 / 12 + 8 / 12 * 8 / 12)
    assert hit(report.oracle) == 1
    assert hit(curve[0.5].both) == hit(report.policies["auto"]["all"])


def test_metrics_come_by_tier_and_for_what_was_held_out():
    tiers = ["literal"] * 6 + ["composed"] * 6
    queries = modes(RIGHT[:6] + WRONG[6:], RIGHT, [0.5] * NUM)
    report = account(query_set(tiers, held_out={0, 6}), queries, ITEMS, theta=0.5)
    never = {name: hit(metrics) for name, metrics in report.policies["never"].items()}
    assert never == {"all": 0.5, "literal": 1, "composed": 0, "held_out": 0.5}


def test_the_cost_is_that_of_what_theta_picks():
    queries = modes(RIGHT, RIGHT, [0.1] * 9 + [0.9] * 3, tokens=8)
    cost = account(query_set(), queries, ITEMS, theta=0.9).cost
    assert asdict(cost["query"]) == pytest.approx(
        {
            "reason_rate": 3 / 12,
            "tokens_auto": 2,
            "tokens_always": 8,
            "ms_never": 1,
            "ms_always": 3,
            "fallback_rate": 3 / 12,
        }
    )
    assert cost["item"].reason_rate == 0


def reading(rationales):
    """Points where the rationale says; an empty one, at axis 0; a summary alone, halfway."""
    vectors = []
    for rationale in rationales:
        vector = AXES[int(rationale.summary or 0)] + (0 if rationale.text else AXES[0])
        vectors.append(vector / np.linalg.norm(vector))
    return np.stack(vectors)


def over_axes(query_vectors):
    return query_set().evaluate(query_vectors, AXES)


def test_sensitivity_compares_the_right_rationale_with_every_other_kind():
    own = [Rationale(f"r{n}", str(n)) for n in range(NUM)]
    both = modes(RIGHT, RIGHT, [0.5] * NUM, rationales=own)
    report = sensitivity(both, reading, evaluate=over_axes, seed=3)
    assert report.num_same == 0
    mean = {name: values.mean for name, values in report.cosine.items()}
    assert mean["right/other"] == 0  # nobody gets their own
    assert mean["right/direct"] == pytest.approx(1)
    assert mean["right/empty"] == pytest.approx(1 / 12)  # right for query 0 alone
    assert mean["right/summary"] == pytest.approx((1 + 11 * 0.5**0.5) / 12)
    assert hit(report.metrics["right"]) == 1
    assert hit(report.metrics["other"]) == 0
    assert report.over_empty["hit@1"].mean == pytest.approx(11 / 12)


def test_rationales_that_read_the_same_say_nothing_about_sensitivity():
    own = [Rationale("the same", "1")] * NUM
    report = sensitivity(modes(RIGHT, RIGHT, [0.5] * NUM, rationales=own), reading)
    assert report.num_same == NUM
    assert report.cosine["right/other"].mean == pytest.approx(1)
    assert report.metrics is None


def test_findings_claim_an_effect_only_where_the_interval_shows_one():
    tiers = ["literal"] * 6 + ["composed"] * 6
    queries = modes(RIGHT[:6] + WRONG[6:], RIGHT, [0.1] * 6 + [0.9] * 6)
    report = account(query_set(tiers), queries, ITEMS, theta=0.5)
    deaf = sensitivity(
        modes(RIGHT, RIGHT, [0.5] * NUM),
        lambda rationales: AXES,
        evaluate=over_axes,
    )
    own = [Rationale(f"r{n}", str(n)) for n in range(NUM)]
    hearing = sensitivity(modes(RIGHT, RIGHT, [0.5] * NUM, rationales=own), reading)
    text = "\n".join(findings(report, {"query": deaf, "item": hearing}))
    assert "Reasoning about queries gains +" in text
    assert "on composed queries" in text
    assert "on literal queries" not in text
    assert "Reasoning about items shows no effect: +0.000 ndcg@10" in text
    assert "A reasoned query hardly hears its rationale:" in text
    assert "A reasoned item hears its rationale and needs it:" in text
