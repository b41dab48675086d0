"""Tests for how `ponder finetune` says what the evaluation found."""

from ponder.cli.finetune import UNJUDGED, findings
from ponder.finetuning.promotion import Check, PromotionConfig, verdict
from ponder.finetuning.results import Evaluation


def evaluation(checks, sets):
    return Evaluation(
        promoted=False,
        checks=checks,
        thresholds={},
        champion="nano-1",
        opponent=None,
        sets=sets,
        behaviour={},
    )


def test_a_version_that_nothing_judged_has_not_failed():
    unjudged = evaluation(verdict({}, PromotionConfig()).checks, {})
    assert list(findings(unjudged, metric="ndcg@10")) == list(UNJUDGED)


def test_a_rule_that_speaks_against_a_version_has_failed():
    judged = evaluation((Check("gain", False, "mean gain -0.1"),), {"questions": None})
    assert list(findings(judged, metric="ndcg@10")) == ["FAILED   mean gain -0.1"]
