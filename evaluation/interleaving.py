"""Two rankers compared on live requests: one list of both, and whose items are chosen.

Team draft (Radlinski, Kurup and Joachims 2008): the two take turns, a coin decides who begins each
round, and each puts in its best item that is not there yet. A user's choice is a point for the team
that put the item in. It needs far fewer requests than two halves of the traffic.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from evaluation.bootstrap import Interval, bootstrap_mean

Team = Literal["a", "b"]


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


def team_draft(
    ranked_a: Sequence[str], ranked_b: Sequence[str], *, top_k: int, rng: np.random.Generator
) -> list[tuple[str, Team]]:
    """Return one list of two, and which of them put each item in.

    Args:
        ranked_a: unique ids, best first.
        ranked_b: the same of the other ranker.
        top_k: items wanted; fewer come when both lists end.
        rng: tosses the coins.
    """
    drafted: list[tuple[str, Team]] = []
    taken: set[str] = set()
    left: dict[Team, list[str]] = {"a": list(reversed(ranked_a)), "b": list(reversed(ranked_b))}
    while len(drafted) < top_k and any(left.values()):
        order: tuple[Team, Team] = ("a", "b") if rng.random() < 0.5 else ("b", "a")
        for team in order:
            while left[team] and left[team][-1] in taken:
                left[team].pop()
            if left[team] and len(drafted) < top_k:
                item_id = left[team].pop()
                taken.add(item_id)
                drafted.append((item_id, team))
    return drafted


def interleaved_requests(ranked: pl.DataFrame, *, top_k: int, seed: int = 0) -> pl.DataFrame:
    """Return the interleaved list of each request.

    The coins hang on the seed and the request's id alone: a request that is answered twice gets the
    same list.

    Args:
        ranked: request_id, team (a or b), item_id, rank (1 = best); an item once for each team.
        top_k: items of a list, at most, >= 1.
        seed: of the coins.

    Returns:
        request_id, item_id, place u32 from 1, team; by request_id, then place.

    Raises:
        ValueError: a column is missing, there are no rows, a team is neither a nor b, or an item
            is there twice for one.
    """
    _check(ranked, ("request_id", "team", "item_id", "rank"), "lists")
    by = ["request_id", "team", "item_id"]
    if ranked.select(by).is_duplicated().any():
        raise ValueError("a team must rank an item of a request once, got one that it ranks twice")
    if top_k < 1:
        raise ValueError(f"top_k must be >= 1, got {top_k}")
    rows = []
    ordered = ranked.sort("request_id", "rank", "item_id")
    for (request,), lists in ordered.group_by("request_id", maintain_order=True):
        digest = hashlib.blake2b(f"{seed} {request}".encode(), digest_size=8).digest()
        ranked_a, ranked_b = (lists.filter(team=team)["item_id"].to_list() for team in "ab")
        rng = np.random.default_rng(int.from_bytes(digest))
        drafted = team_draft(ranked_a, ranked_b, top_k=top_k, rng=rng)
        rows += [(request, item, n, team) for n, (item, team) in enumerate(drafted, start=1)]
    return pl.DataFrame(
        rows,
        schema={
            "request_id": ordered.schema["request_id"],
            "item_id": ordered.schema["item_id"],
            "place": pl.UInt32,
            "team": pl.String,
        },
        orient="row",
    )


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
    _check(choices, ("request_id", "user_id", "team"), "choices")
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


def _check(rows: pl.DataFrame, needed: Sequence[str], name: str) -> None:
    if missing := [column for column in needed if column not in rows.columns]:
        raise ValueError(f"{name} must have the columns {list(needed)}, got none named {missing}")
    if rows.is_empty():
        raise ValueError(f"there must be {name}, got none")
    if others := sorted(set(rows["team"].to_list()) - {"a", "b"}, key=str):
        raise ValueError(f"team must be a or b, got {others}")
