"""Whether a candidate version may take the champion's place: rules over what was measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ponder.finetuning.results import Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class PromotionConfig:
    """The thresholds. Gains are candidate minus champion, in units of the metric."""

    metric: str = "ndcg@10"
    """What is compared: hit@1, recall@10 or ndcg@10."""

    min_gain: float = 0.0
    """The mean gain, over the evaluation sets, must be more than this: a version that is no better
    is not worth embedding a catalogue anew."""

    max_loss: float = 0.02
    """On every set the lower end of the gain's interval must lie above minus this, >= 0."""

    max_literal_loss: float = 0.01
    """On queries that need no inference (tier `literal`) the mean gain must not be below minus
    this, >= 0. The mean and not the interval: a tier is a part of a set, and its interval wide."""

    min_sensitivity: float = 0.02
    """A version that reasons must move its embedding by at least this, in 1 - cosine, when it reads
    another query's rationale instead of its own; else reasoning is decoration. Peers' versions were
    seen at 0.02 to 0.05 (UME-R1, issue 12)."""

    def __post_init__(self) -> None:
        if self.metric not in ("hit@1", "recall@10", "ndcg@10"):
            raise ValueError(f"metric must be hit@1, recall@10 or ndcg@10, got {self.metric!r}")
        for name in ("max_loss", "max_literal_loss", "min_sensitivity"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, applied."""

    rule: str
    passed: bool
    says: str
    """What was found and what was asked, with the numbers."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every rule that was applied; the candidate is promoted when all of them passed."""

    checks: tuple[Check, ...]

    @property
    def promoted(self) -> bool:
        """Whether no rule speaks against it."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why it is refused; empty when it is not."""
        return [check.says for check in self.checks if not check.passed]


def verdict(report: Mapping[str, "Comparison"], config: PromotionConfig) -> Verdict:
    """Apply the rules to a comparison.

    Args:
        report: by name of the evaluation set, the candidate against the champion.
        config: the thresholds.
    """
    if not report:
        return Verdict((Check("evidence", False, "there is no evaluation set to judge on"),))
    return Verdict(
        (
            _gain(report, config),
            *_losses(report, config),
            *_literal(report, config),
            *_sensitivity(report, config),
        )
    )


def _gain(report: Mapping[str, "Comparison"], config: PromotionConfig) -> Check:
    gain = fmean(compared.gain["all"][config.metric].mean for compared in report.values())
    says = f"mean gain {gain:+.4f} {config.metric}, must be > {config.min_gain:+.4f}"
    return Check("gain", gain > config.min_gain, says)


def _losses(report: Mapping[str, "Comparison"], config: PromotionConfig) -> Iterator[Check]:
    for name, compared in report.items():
        low = compared.gain["all"][config.metric].low
        says = f"{name}: gain at least {low:+.4f} {config.metric}, must be > {-config.max_loss:+g}"
        yield Check("no loss", low > -config.max_loss, says)


def _literal(report: Mapping[str, "Comparison"], config: PromotionConfig) -> Iterator[Check]:
    for name, compared in report.items():
        if "literal" not in compared.gain:
            continue
        gain = compared.gain["literal"][config.metric].mean
        limit = -config.max_literal_loss
        says = f"{name}: gain {gain:+.4f} {config.metric} on literal queries, must be >= {limit:+g}"
        yield Check("literal", gain >= limit, says)


def _sensitivity(report: Mapping[str, "Comparison"], config: PromotionConfig) -> Iterator[Check]:
    """Check the sets on which the candidate reasons about some query."""
    for name, compared in report.items():
        if compared.candidate.reason_rate == 0:
            continue
        moved = 1 - compared.sensitivity["cosine"]["right/other"]["mean"]
        says = (
            f"{name}: another query's rationale moves the embedding by {moved:.4f}, "
            f"must be >= {config.min_sensitivity:g}"
        )
        yield Check("reasoning", moved >= config.min_sensitivity, says)
