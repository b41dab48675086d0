"""What reasoning was worth to the queries: by tier, at what price, and what it turned right."""

from collections.abc import Mapping, Sequence
from typing import Any

from ponder.reports.run.examples import Example

ALL, HELD_OUT = "all", "held_out"  # slices across the tiers
NUM_TURNED = 3


def account(queries: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return rows by tier, the price of each policy, and queries to look at; None: no queries.

    Args:
        queries: as `evaluation.query_evaluation.evaluate_queries` reports them.

    Returns:
        `tiers`: name, num_queries, hit@1 by policy, share that `auto` reasoned about; all last.
        `price`: policy -> ms a query, and that as a multiple of `never`.
        `turned`, `unturned`: queries that reasoning answered and direct reading did not, and one
        that reasoning did not answer.
    """
    if queries is None:
        return {"tiers": [], "price": {}, "turned": [], "unturned": []}
    examples = queries["examples"]
    return {
        "tiers": _tiers(queries),
        "price": _price(queries),
        "turned": turned_right(examples)[:NUM_TURNED],
        "unturned": still_wrong(examples)[:1],
    }


def turned_right(examples: Sequence[Example]) -> list[Example]:
    """Return the queries, by id, that were reasoned about and would have been answered wrongly."""
    return [
        example
        for example in _reasoned(examples)
        if _is_right(example, "found") and not _is_right(example, "found_direct")
    ]


def still_wrong(examples: Sequence[Example]) -> list[Example]:
    """Return the queries, by id, that were reasoned about and answered wrongly all the same."""
    return [example for example in _reasoned(examples) if not _is_right(example, "found")]


def _reasoned(examples: Sequence[Example]) -> list[Example]:
    reasoned = [example for example in examples if example["action"] == "reason"]
    return sorted(reasoned, key=lambda example: str(example["query_id"]))


def _is_right(example: Example, found: str) -> bool:
    return bool(example[found]) and example[found][0] in example["relevant"]


def _tiers(queries: Mapping[str, Any]) -> list[dict[str, Any]]:
    slices = {policy: one["slices"] for policy, one in queries["policies"].items()}
    names = [name for name in slices["never"] if name != HELD_OUT]
    return [
        {
            "name": name,
            "num_queries": slices["never"][name]["num_queries"],
            "hits": {policy: of_policy[name]["hit@1"] for policy, of_policy in slices.items()},
            "reason_rate": _rate(queries["examples"], name),
        }
        for name in sorted(names, key=ALL.__eq__)
    ]


def _rate(examples: Sequence[Example], tier: str) -> float | None:
    actions = [example["action"] for example in examples if tier in (ALL, example["tier"])]
    return actions.count("reason") / len(actions) if actions else None


def _price(queries: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    seconds = {policy: one["seconds"] for policy, one in queries["policies"].items()}
    return {
        policy: {
            "ms": 1000 * spent / queries["num_queries"],
            "times": spent / seconds["never"] if seconds["never"] else float("nan"),
        }
        for policy, spent in seconds.items()
    }
