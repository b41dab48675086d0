"""Tests for ponder/ranking/promotion.py."""

import pytest

from evaluation.bootstrap import Interval
from ponder.ranking.promotion import RankerComparison, RankerPromotionConfig, ranker_verdict
from ranker.leaks import Alarm

CONFIG = RankerPromotionConfig()
ALARM = Alarm(kind="clock", features=["item_rate"], says="it knows of later events")


def compared(mean, low, *, num_requests=200, obstacle=""):
    gain = {} if obstacle else {"ndcg@10": Interval(mean, low, 2 * mean - low)}
    return RankerComparison(
        champion="ranker-1", num_requests=num_requests, gain=gain, obstacle=obstacle
    )


@pytest.mark.parametrize(
    ("comparison", "alarms", "refused_by"),
    [
        (None, [], []),
        (None, [ALARM], ["leaks"]),
        (compared(0.01, -0.005), [], []),
        (compared(0.0, -0.019), [], []),
        (compared(0.01, -0.02), [], ["no loss"]),
        (compared(-0.001, -0.005), [], ["gain"]),
        (compared(-0.03, -0.05), [ALARM], ["leaks", "gain", "no loss"]),
        (compared(0.01, 0.0, num_requests=49), [], ["evidence"]),
        (compared(0, 0, num_requests=0, obstacle="another schema"), [], []),
        (compared(0, 0, num_requests=0, obstacle="another schema"), [ALARM], ["leaks"]),
    ],
)
def test_rules_refuse_by_name(comparison, alarms, refused_by):
    judged = ranker_verdict(comparison, alarms, CONFIG)
    assert [check.rule for check in judged.checks if not check.passed] == refused_by
    assert judged.promoted == (not refused_by)


def test_reasons_hold_the_numbers():
    judged = ranker_verdict(compared(-0.03, -0.05), [], CONFIG)
    assert judged.reasons == [
        "mean gain -0.0300 ndcg@10 over ranker-1, must be >= +0",
        "gain at least -0.0500 ndcg@10 over ranker-1, must be > -0.02",
    ]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"metric": "auc"}, "metric must be gauc, ndcg@10 or hit@10"),
        ({"max_loss": -1}, "max_loss must be >= 0"),
        ({"min_requests": 0}, "min_requests must be >= 1"),
    ],
)
def test_thresholds_out_of_range_are_refused(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        RankerPromotionConfig(**values)
