"""Who says whether a query and a target belong together, with a rationale at hand or without."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embedder.content import Content, Side
from embedder.reasoners.reasoner import Rationale


@dataclass(frozen=True, slots=True)
class JudgeInput:
    """One question to a judge: do these two match?"""

    query: Content
    target: Content

    side: Side
    """Which of the two the rationale is about, or would be about if there were one."""

    rationale: Rationale | None = None
    """None: the place of the rationale is left out, and not filled with an empty one."""

    others: tuple[Content, ...] = ()
    """Contents in the partner's place that do not match, for judges that compare."""

    @property
    def about(self) -> Content:
        """The content that the rationale is about."""
        return self.query if self.side == "query" else self.target

    @property
    def partner(self) -> Content:
        """The content on the other side."""
        return self.target if self.side == "query" else self.query


class Judge(Protocol):
    """Gives log-odds of a match."""

    @property
    def name(self) -> str:
        """Who judges; equal names give equal log-odds."""
        ...

    def log_odds(self, judge_inputs: Sequence[JudgeInput]) -> np.ndarray:
        """Return [N], log P(match) - log P(no match) in nats, in the order of the inputs.

        Each depends on its input alone, not on the others of the call. NaN: could not be judged.

        Raises:
            ReasonerOutage: the judge answers nobody now.
        """
        ...
