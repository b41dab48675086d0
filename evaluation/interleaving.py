"""Two rankers compared on live requests: one list of both, and whose items are chosen.

Team draft (Radlinski, Kurup and Joachims 2008): the two take turns, a coin decides who begins each
round, and each puts in its best item that is not there yet. A user's choice is a point for the team
that put the item in. It needs far fewer requests than two halves of the traffic.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from evaluation.bootstrap import Interval, bootstrap_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class InterleavingOutcome:
    """Which of two rankers users chose from."""

    num_requests: int
    """With a choice in them; the others say nothing."""

    wins_a: int
    """Requests with more points for a."""

    wins_b: int
    ties: int

    preference: Interval
    """(wins of a - wins of b) / requests, in [-1, 1]; above 0, a is preferred. Draws users."""


def interleaving_outcome(
    choices: pl.DataFrame, *, num_resamples: int = 1000, seed: int = 0
) -> InterleavingOutcome:
    """Return who won how many requests.

    Args:
        choices: request_id, user_id and `team`, a or b, of each item that was chosen.
        num_resamples: of the interval.
        seed: of the interval.

    Raises:
        ValueError: a column is missing, there are no choices, or a team is neither a nor b.
    """
    needed = ("request_id", "user_id", "team")
    if missing := [name for name in needed if name not in choices.columns]:
        raise ValueError(f"choices must have the columns {list(needed)}, got none named {missing}")
    if choices.is_empty():
        raise ValueError("there must be choices, got none")
    if others := sorted(set(choices["team"].to_list()) - {"a", "b"}, key=str):
        raise ValueError(f"team must be a or b, got {others}")
    point = pl.when(pl.col("team") == "a").then(1).otherwise(-1)
    sign = (
        choices.group_by("request_id", "user_id")
        .agg(sign=point.sum().sign())
        .sort("request_id", "user_id")
    )
    sign_G = sign["sign"].to_numpy()
    return InterleavingOutcome(
        num_requests=len(sign),
        wins_a=int((sign_G > 0).sum()),
        wins_b=int((sign_G < 0).sum()),
        ties=int((sign_G == 0).sum()),
        preference=bootstrap_mean(
            sign_G.astype(np.float64),
            cluster_G=sign["user_id"].to_numpy(),
            num_resamples=num_resamples,
            seed=seed,
        ),
    )
