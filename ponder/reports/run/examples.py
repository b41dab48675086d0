"""Which evaluated queries are worth looking at: of each tier a success, a failure, a rationale."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Example = Mapping[str, Any]
"""A query as `evaluation.query_evaluation.evaluate_queries` reports it."""

MAX_TIERS = 4


def first_right(example: Example) -> int | None:
    """Return the rank of the first right item, from 1; None when none was found."""
    relevant = set(example["relevant"])
    ranks = (rank for rank, found in enumerate(example["found"], start=1) if found in relevant)
    return next(ranks, None)


def worth_seeing(examples: Sequence[Example], *, per_tier: int = 3) -> list[Example]:
    """Return some queries of each tier by id: what went right, what went wrong, what reasoned.

    The tiers are in order of appearance, four at most.
    """
    tiers = list(dict.fromkeys(example["tier"] for example in examples))[:MAX_TIERS]
    chosen = []
    for tier in tiers:
        of_tier = [example for example in examples if example["tier"] == tier]
        chosen += _varied(sorted(of_tier, key=_id), per_tier)
    return chosen


def _varied(examples: list[Example], num: int) -> list[Example]:
    """The worst failure, the first success and the first that reasoned; the rest in order."""
    failed = sorted((e for e in examples if first_right(e) != 1), key=_rank, reverse=True)
    succeeded = [e for e in examples if first_right(e) == 1]
    reasoned = [e for e in examples if e["action"] == "reason"]
    by_worth = [*failed[:1], *succeeded[:1], *reasoned[:1], *examples]
    chosen = list({_id(example): example for example in by_worth}.values())[:num]
    return sorted(chosen, key=_id)


def _rank(example: Example) -> float:
    return first_right(example) or math.inf


def _id(example: Example) -> str:
    return example["query_id"]
