"""Whether a newly trained ranker may take the champion's place: rules over what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ponder.finetuning.promotion import Check, Verdict

if TYPE_CHECKING:
    from evaluation.bootstrap import Interval
    from ranker.leaks import Alarm


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerPromotionConfig:
    """The thresholds. Gains are candidate minus champion, in units of the metric."""

    metric: str = "ndcg@10"
    """What is compared: gauc, ndcg@10 or hit@10. A log without pages has no gauc."""

    min_gain: float = 0.0
    """The mean gain must be at least this: one that learnt of newer requests and is as good takes
    over."""

    max_loss: float = 0.02
    """The lower end of the gain's interval must lie above minus this, >= 0."""

    min_requests: int = 50
    """Requests with a choice, or users with a left-out item, that a comparison needs."""

    def __post_init__(self) -> None:
        if self.metric not in ("gauc", "ndcg@10", "hit@10"):
            raise ValueError(f"metric must be gauc, ndcg@10 or hit@10, got {self.metric!r}")
        if self.max_loss < 0:
            raise ValueError(f"max_loss must be >= 0, got {self.max_loss}")
        if self.min_requests < 1:
            raise ValueError(f"min_requests must be >= 1, got {self.min_requests}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerComparison:
    """A candidate against the champion, on requests that neither has learnt from."""

    champion: str

    num_requests: int
    """With a choice in them."""

    gain: "dict[str, Interval]"
    """By metric, candidate minus champion; empty where the champion cannot be asked."""

    obstacle: str = ""
    """Why the champion cannot be asked: it reads other features than are made now."""


def ranker_verdict(
    comparison: RankerComparison | None, alarms: "Sequence[Alarm]", config: RankerPromotionConfig
) -> Verdict:
    """Apply the rules.

    Args:
        comparison: None where there is no champion yet; the first ranker needs none.
        alarms: of the candidate's experiment: a ranker whose features may know the answer is
            never promoted by itself.
        config: the thresholds.
    """
    says = "; ".join(alarm.says for alarm in alarms) or "no alarm of a leak"
    leaks = Check("leaks", not alarms, says)
    if comparison is None:
        return Verdict((leaks, Check("first", True, "there is no champion yet")))
    if comparison.obstacle:
        says = f"{comparison.champion} cannot serve any more: {comparison.obstacle}"
        return Verdict((leaks, Check("fit", True, says)))
    return Verdict((leaks, *_gains(comparison, config)))


def _gains(comparison: RankerComparison, config: RankerPromotionConfig) -> tuple[Check, ...]:
    enough = comparison.num_requests >= config.min_requests
    says = (
        f"{comparison.num_requests} requests that {comparison.champion} has not learnt from, must "
        f"be >= {config.min_requests}"
    )
    evidence = Check("evidence", enough, says)
    if not enough or config.metric not in comparison.gain:
        return (evidence,)
    gain = comparison.gain[config.metric]
    of = f"{config.metric} over {comparison.champion}"
    return (
        evidence,
        Check(
            "gain",
            gain.mean >= config.min_gain,
            f"mean gain {gain.mean:+.4f} {of}, must be >= {config.min_gain:+g}",
        ),
        Check(
            "no loss",
            gain.low > -config.max_loss,
            f"gain at least {gain.low:+.4f} {of}, must be > {-config.max_loss:+g}",
        ),
    )
