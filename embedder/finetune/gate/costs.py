"""What an action of the gate costs, measured on the machine that trains it."""

import time
from collections.abc import Callable

from embedder.content import Encoding, Policy

ROUNDS = 3
POLICIES: tuple[Policy, ...] = ("never", "silent", "always")


def silent_tokens(
    encode: Callable[[Policy], list[Encoding]], *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the tokens of a rationale that take as long as a silent answer, >= 0.

    Both are measured beyond the direct answer, which all actions begin with; the best of three
    rounds counts, in which the policies alternate.

    Args:
        encode: the same contents under a policy, by a version that has a silent mode.
        clock: seconds since any moment.

    Raises:
        ValueError: no content was reasoned about, or rationales took no time.
    """
    seconds = dict.fromkeys(POLICIES, float("inf"))
    encodings: dict[Policy, list[Encoding]] = {}
    for _ in range(ROUNDS):
        for policy in POLICIES:
            started = clock()
            encodings[policy] = encode(policy)
            seconds[policy] = min(seconds[policy], clock() - started)
    num_tokens = sum(encoding.rationale_tokens for encoding in encodings["always"])
    mean_tokens = num_tokens / len(encodings["always"])
    reasoning_s = seconds["always"] - seconds["never"]
    if not num_tokens or reasoning_s <= 0:
        raise ValueError(
            f"reasoning must take time to tell what silence costs: {num_tokens} tokens in "
            f"{reasoning_s:.3f} s; set gate.rewards.silent_tokens instead"
        )
    return max(0.0, seconds["silent"] - seconds["never"]) / reasoning_s * mean_tokens
