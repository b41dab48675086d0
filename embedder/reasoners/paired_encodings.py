"""The same contents embedded twice, without and with reasoning, so that any policy can be read off.

Shape legend: N = contents, D = embedding dimension
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from embedder.content import Encoding, Policy, reasons
from embedder.reasoners.reasoner import Rationale
from embedder.reasoning_budget import MeasuredGate


@dataclass(frozen=True, slots=True, eq=False)
class PairedEncodings:
    """Every content's direct and reasoned vector, and what the second one cost."""

    direct_ND: np.ndarray
    reasoned_ND: np.ndarray
    """The direct vector where no rationale could be had."""

    gate_N: np.ndarray
    """The gate's probability of `reason`."""

    tokens_N: np.ndarray
    """Tokens of each rationale; 0 where there is none."""

    rationales: list[Rationale]
    """Empty ones where none could be had."""

    direct_s: float
    """Seconds for all contents without reasoning."""

    reasoned_s: float
    """Seconds for all contents with it, the direct part included."""

    num_fallbacks: int
    """Contents for which no rationale could be had."""

    @property
    def measured_gate(self) -> MeasuredGate:
        """What the gate said, and what each mode took."""
        num = len(self.gate_N)
        return MeasuredGate(
            probabilities=tuple(self.gate_N.tolist()),
            direct_ms=1000 * self.direct_s / num,
            reasoned_ms=1000 * self.reasoned_s / num,
        )

    def reasons(self, policy: Policy, *, theta: float) -> np.ndarray:
        """Return [N] whether each content is reasoned about under a policy."""
        return reasons(self.gate_N, policy=policy, theta=theta)

    def vectors(self, policy: Policy, *, theta: float) -> np.ndarray:
        """Return [N, D] the vectors that the contents have under a policy."""
        reasons_N1 = self.reasons(policy, theta=theta)[:, None]
        return np.where(reasons_N1, self.reasoned_ND, self.direct_ND)

    def first(self, num: int) -> "PairedEncodings":
        """Return the first so many contents; seconds and fallbacks stay those of all."""
        return replace(
            self,
            direct_ND=self.direct_ND[:num],
            reasoned_ND=self.reasoned_ND[:num],
            gate_N=self.gate_N[:num],
            tokens_N=self.tokens_N[:num],
            rationales=self.rationales[:num],
        )


def paired_encodings(encode: Callable[[Policy], list[Encoding]]) -> PairedEncodings:
    """Encode contents twice, directly and reasoned; `encode` is given the policy."""
    started = time.perf_counter()
    direct = encode("never")
    middle = time.perf_counter()
    reasoned = encode("always")
    ended = time.perf_counter()
    return PairedEncodings(
        np.stack([encoding.vector for encoding in direct]),
        np.stack([encoding.vector for encoding in reasoned]),
        np.array([encoding.gate_probability for encoding in direct]),
        np.array([encoding.rationale_tokens for encoding in reasoned]),
        [Rationale(e.rationale, e.summary, e.rationale_tokens) for e in reasoned],
        middle - started,
        ended - middle,
        sum(encoding.action == "direct" for encoding in reasoned),
    )
