"""What an account of reasoning says, in sentences that claim no more than its intervals do."""

from collections.abc import Mapping
from dataclasses import asdict

from ponder.reports.html.formatting import number, percent, signed, spread
from ponder.reports.reasoning.account import Account, Sensitivity

METRIC = "ndcg@10"
SAME = 0.95  # from this cosine on two vectors are nearly one; UME-R1's issue 12 saw 0.95 to 0.98


def findings(account: Account, sensitivity: Mapping[str, Sensitivity]) -> list[str]:
    """Return sentences about what reasoning is worth.

    Args:
        account: of both sides.
        sensitivity: query, item -> how much its vectors depend on their rationales.
    """
    return [
        *_gains(account),
        _gate(account),
        _pairing(account),
        *_sensitivities(sensitivity),
        _price(account),
    ]


def _gains(account: Account) -> list[str]:
    """For either side by itself: all queries, and those kinds where an effect is shown."""
    sentences = []
    for side, about in (("query", "queries"), ("item", "items")):
        for kind, metrics in account.gain[side].items():
            gain = metrics[METRIC]
            is_shown = gain.low > 0 or gain.high < 0
            if not is_shown and kind != "all":
                continue
            effect = ("gains" if gain.mean > 0 else "costs") if is_shown else "shows no effect:"
            where = "" if kind == "all" else f" on {kind} queries"
            numbers = f"{signed(gain.mean)} {METRIC} [{spread(asdict(gain))}]"
            sentences.append(f"Reasoning about {about} {effect} {numbers}{where}.")
    return sentences


def _gate(account: Account) -> str:
    point = next(point for point in account.curve if point.theta == account.theta)
    won = point.queries[METRIC] - point.coin[METRIC]
    return (
        f"The gate reasons about {percent(point.query_rate)} of the queries and has "
        f"{signed(won)} {METRIC} over a coin that picks as many; "
        f"a perfect choice would have {number(account.oracle[METRIC])}."
    )


def _pairing(account: Account) -> str:
    pairings = {name: metrics[METRIC] for name, metrics in account.pairings.items()}
    best, worst = (pick(pairings, key=lambda name: pairings[name]) for pick in (max, min))
    return (
        f"Of the pairings (query x item), {best} is best with {number(pairings[best])} {METRIC} "
        f"and {worst} worst with {number(pairings[worst])}."
    )


def _sensitivities(sensitivity: Mapping[str, Sensitivity]) -> list[str]:
    sentences = []
    for side, measured in sensitivity.items():
        other, empty = (measured.cosine[f"right/{n}"].mean for n in ("other", "empty"))
        if other > SAME:
            verdict = "hardly hears its rationale"
        elif empty > SAME:
            verdict = "hears its rationale but hardly needs it"
        else:
            verdict = "hears its rationale and needs it"
        sentences.append(
            f"A reasoned {side} {verdict}: the cosine to the vector with another {side}'s is "
            f"{number(other)}, to that with an empty one {number(empty)}."
        )
    over_empty = sensitivity["query"].over_empty
    if over_empty is None:
        return sentences
    worth = over_empty[METRIC]
    sentences.append(
        f"What a query's own rationale says is worth {signed(worth.mean)} {METRIC} "
        f"[{spread(asdict(worth))}] over an empty one."
    )
    return sentences


def _price(account: Account) -> str:
    cost = account.cost["query"]
    return (
        f"A query costs {number(cost.ms_never, 1)} ms without reasoning and "
        f"{number(cost.ms_always, 1)} ms with it, for {number(cost.tokens_always, 1)} tokens."
    )
