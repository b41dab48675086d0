"""Tests for ponder/finetuning/promotion.py: every rule passes on one side of its threshold only."""

import pytest

from evaluation.bootstrap import Interval
from ponder.finetuning.promotion import PromotionConfig, verdict
from ponder.finetuning.results import Comparison, VersionScores

CONFIG = PromotionConfig(min_gain=0.01, max_loss=0.02, max_literal_loss=0.005, min_sensitivity=0.1)


def gain(mean, low):
    return {"ndcg@10": Interval(mean, low, 2 * mean - low)}


def compared(mean=0.05, low=0.01, literal=0.0, reason_rate=0.5, cosine=0.8):
    return Comparison(
        digest="d",
        num_queries=10,
        num_items=20,
        candidate=VersionScores(version="new", reason_rate=reason_rate, metrics={}),
        champion=VersionScores(version="old", reason_rate=0.0, metrics={}),
        gain={"all": gain(mean, low), "literal": gain(literal, literal - 0.5)},
        sensitivity={"cosine": {"right/other": {"mean": cosine}}},
    )


def failed(**sets):
    return [check.rule for check in verdict(sets, CONFIG).checks if not check.passed]


def test_a_better_version_is_promoted_without_a_reason_against_it():
    outcome = verdict({"a": compared()}, CONFIG)
    assert outcome.promoted
    assert outcome.reasons == []
    assert [check.rule for check in outcome.checks] == ["gain", "no loss", "literal", "reasoning"]


def test_nothing_is_promoted_on_no_evidence():
    assert verdict({}, CONFIG).reasons == ["there is no evaluation set to judge on"]


@pytest.mark.parametrize(
    ("measured", "rules"),
    [
        ({"mean": 0.011}, []),
        ({"mean": 0.010}, ["gain"]),
        ({"low": -0.019}, []),
        ({"low": -0.020}, ["no loss"]),
        ({"literal": -0.005}, []),
        ({"literal": -0.006}, ["literal"]),
        ({"cosine": 0.89}, []),
        ({"cosine": 0.91}, ["reasoning"]),
        ({"cosine": 1.0, "reason_rate": 0.0}, []),
    ],
)
def test_each_rule_holds_up_to_its_threshold(measured, rules):
    assert failed(only=compared(**measured)) == rules


def test_the_gain_is_the_mean_over_the_sets_and_a_loss_is_looked_for_on_each():
    sets = {"up": compared(mean=0.07), "down": compared(mean=-0.04, low=-0.1)}
    assert failed(**sets) == ["no loss"]
    assert verdict(sets, CONFIG).reasons == ["down: gain at least -0.1000 ndcg@10, must be > -0.02"]


def test_a_set_without_literal_queries_says_nothing_about_them():
    without = compared(literal=-0.5)
    del without.gain["literal"]
    assert failed(only=without) == []


def test_thresholds_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="max_loss must be >= 0, got -1"):
        PromotionConfig(max_loss=-1)
    with pytest.raises(ValueError, match="metric must be hit@1"):
        PromotionConfig(metric="accuracy")
