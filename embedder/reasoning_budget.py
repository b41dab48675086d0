"""How much reasoning a deployment can afford, and from which probability on its gate then reasons.

A threshold on a probability is hard to choose; a share of the inputs or a mean time is not. What a
version's gate says of a deployment's own queries and items, and what its actions take there, is
measured once (`ponder embedder report`), and theta is read off it.
"""

import math
import re
from dataclasses import dataclass

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(%|ms)")


@dataclass(frozen=True, slots=True)
class ReasoningBudget:
    """What reasoning may cost: a share of the inputs, or a mean time; exactly one is given."""

    share: float | None = None
    """Of the inputs that are reasoned about, in [0, 1]."""

    mean_ms: float | None = None
    """To encode an input, direct ones included."""


def parse_budget(text: str) -> ReasoningBudget:
    """Return the budget that a text states.

    >>> parse_budget("30%").share, parse_budget("2.5 ms").mean_ms
    (0.3, 2.5)

    Raises:
        ValueError: it is neither a percentage up to 100 nor a number of milliseconds.
    """
    match = _BUDGET.fullmatch(text.strip())
    if match is None or (match[2] == "%" and float(match[1]) > 100):
        raise ValueError(f"a budget must be a share like 30% or a time like 5ms, got {text!r}")
    amount = float(match[1])
    return ReasoningBudget(share=amount / 100) if match[2] == "%" else ReasoningBudget(None, amount)


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredGate:
    """What a gate said about the inputs of one side, and what embedding them took."""

    probabilities: tuple[float, ...]
    """Of `reason`, by input; at least one."""

    direct_ms: float
    """Mean time to encode an input directly."""

    reasoned_ms: float
    """Mean time to encode an input after reasoning."""

    def theta(self, budget: ReasoningBudget) -> float:
        """Return the least theta with which the measured inputs keep within the budget.

        Inputs of equal probability are reasoned about together or not at all, so less may be spent
        than was granted. A budget that not even direct encoding meets reasons about nothing that
        was measured.
        """
        allowed = math.floor(self.share(budget) * len(self.probabilities) + 1e-9)
        falling = sorted(self.probabilities, reverse=True)
        if allowed >= len(falling):
            return 0.0
        too_many = falling[allowed]  # reasoning about it would be one input too many
        above = [probability for probability in falling if probability > too_many]
        return above[-1] if above else math.nextafter(too_many, math.inf)

    def share(self, budget: ReasoningBudget) -> float:
        """Return the share of inputs that the budget lets reason, in [0, 1]."""
        if budget.share is not None:
            return budget.share
        assert budget.mean_ms is not None, "a budget is a share or a time"
        extra_ms = self.reasoned_ms - self.direct_ms
        if extra_ms <= 0:
            return 1.0
        return min(1.0, max(0.0, (budget.mean_ms - self.direct_ms) / extra_ms))
