"""`ponder evaluate`: recall without a ranker."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, show
from ponder.steps import evaluate as steps


def evaluate(
    context: typer.Context,
    queries: Annotated[
        Path | None, typer.Option(help="A queries.jsonl; without it only users' histories count.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate recall: queries under each policy, and users' next items."""
    with failures(), bar("evaluate") as progress:
        evaluation = steps.evaluate(context.obj, queries, progress=progress)
    show(evaluation if as_json else headline(evaluation), as_json)


def headline(evaluation: steps.RecallEvaluation) -> dict[str, Any]:
    """Return what a line has room for: the queries' hit@1 by policy and tier, the users' hit@10."""
    found: dict[str, Any] = {}
    if evaluation.queries:
        for policy, measured in evaluation.queries.policies.items():
            hits = {name: metrics["hit@1"] for name, metrics in measured.slices.items()}
            found[f"hit@1, {policy}"] = hits | {"reasoned": measured.reason_rate}
    if evaluation.histories:
        shown = ("num_users", "num_items", "hit@10", "ndcg@10")
        found["next item"] = {name: evaluation.histories[name] for name in shown}
    return found
