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
    """Judge recall: queries under each policy, and users' next items."""
    with failures(), bar("evaluate") as progress:
        report = steps.evaluate(context.obj, queries, progress=progress)
    show(report if as_json else headline(report), as_json)


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """What a line has room for: hit@1 of the queries by policy and tier, hit@10 of the users."""
    queries, histories = report.get("queries"), report.get("histories")
    headline: dict[str, Any] = {}
    if queries:
        for policy, judged in queries["policies"].items():
            hits = {name: metrics["hit@1"] for name, metrics in judged["slices"].items()}
            headline[f"hit@1, {policy}"] = hits | {"reasoned": judged["reason_rate"]}
    if histories:
        headline["next item"] = {
            name: histories[name] for name in ("num_users", "num_items", "hit@10", "ndcg@10")
        }
    return headline
