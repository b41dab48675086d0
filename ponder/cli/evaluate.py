"""`ponder evaluate`: recall without a ranker."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, out, show
from ponder.json_form import json_form
from ponder.reports.html.formatting import number, percent
from ponder.reports.run.reasoning import account
from ponder.steps import evaluate as steps

if TYPE_CHECKING:
    from evaluation.query_evaluation import QueryEvaluation


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
    if not as_json and evaluation.queries:
        out.print(reasoning_table(evaluation.queries))


def reasoning_table(queries: "QueryEvaluation") -> Table:
    """Return hit@1 by tier under each policy, and what each policy costs."""
    worth = account(json_form(queries))
    policies = list(queries.policies)
    columns = ("queries", "", *policies, "auto reasoned about")
    table = Table(*columns, title="Does reasoning pay? hit@1")
    for tier in worth["tiers"]:
        hits = (number(tier["hits"][policy]) for policy in policies)
        table.add_row(tier["name"], str(tier["num_queries"]), *hits, percent(tier["reason_rate"]))
    price = (f"{number(worth['price'][policy]['ms'], 1)} ms" for policy in policies)
    table.add_section()
    table.add_row("a query takes", "", *price, "")
    return table


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
