"""`ponder evaluate`: recall without a ranker, or the model on public tasks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, line, out, printable, show
from ponder.json_form import json_form
from ponder.reports.html.formatting import number, percent
from ponder.reports.run.reasoning import account
from ponder.settings import Settings
from ponder.steps import evaluate as steps
from ponder.steps.mteb import evaluate_on_mteb

if TYPE_CHECKING:
    from embedder.content import Policy
    from evaluation.mteb.evaluation import MtebEvaluation, TaskScore
    from evaluation.query_evaluation import QueryEvaluation


def evaluate(
    context: typer.Context,
    queries: Annotated[
        Path | None, typer.Option(help="A queries.jsonl; without it only users' histories count.")
    ] = None,
    mteb: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK",
            help="Run the model on a task of mteb instead: its name, TASK=FOLDER, a benchmark, or "
            "local:FOLDER; may be repeated.",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POLICY",
            help="With --mteb: only never, auto or always; may be repeated. Else all three.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate recall: queries under each policy, and users' next items; or run public tasks."""
    if mteb:
        if queries is not None:
            raise typer.BadParameter("--queries ask the lake, --mteb needs none: give one of them")
        _evaluate_on_mteb(context.obj, mteb, _policies(policy or []), as_json)
        return
    if policy:
        raise typer.BadParameter("--policy goes with --mteb; --queries are asked under each")
    with failures(), bar("evaluate") as progress:
        evaluation = steps.evaluate(context.obj, queries, progress=progress)
    show(evaluation if as_json else headline(evaluation), as_json)
    if not as_json and evaluation.queries:
        out.print(reasoning_table(evaluation.queries))


def _policies(names: Sequence[str]) -> "list[Policy]":
    known: dict[str, Policy] = {"never": "never", "auto": "auto", "always": "always"}
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"--policy must be never, auto or always, got {unknown[0]!r}")
    return [known[name] for name in names]


def _evaluate_on_mteb(
    settings: Settings, names: list[str], policies: "Sequence[Policy]", as_json: bool
) -> None:
    with failures(), bar("mteb") as progress:
        evaluation = evaluate_on_mteb(settings, names, policies, progress=progress)
    if as_json:
        show(evaluation, as_json)
    else:
        out.print(mteb_table(evaluation))
        line(f"mteb's own results, with all metrics: {settings.mteb_folder / 'results'}")
    failed = [task for task in evaluation.tasks if task.error]
    with failures():
        if failed:
            raise RuntimeError(
                f"{len(failed)} of {len(evaluation.tasks)} tasks did not run to their end, first "
                f"{failed[0].task}: {failed[0].error}; what was run is kept, so run it again"
            )


def mteb_table(evaluation: "MtebEvaluation") -> Table:
    """Return the main score of each task under each policy, and what it cost."""
    columns = ("task", "policy", "score", "queries", "documents")
    table = Table(*columns, title=f"{evaluation.model_version} on tasks of mteb")
    for task in evaluation.tasks:
        name = f"{task.task}\n{task.metric}"
        for policy, score in task.policies.items():
            table.add_row(name, policy, *_score_cells(score))
            name = ""
        if task.error:
            table.add_row(name, "", printable(task.error, max_chars=200))
        table.add_section()
    if len(evaluation.tasks) > 1:
        for policy, mean in evaluation.means.items():
            table.add_row("mean", policy, number(mean))
    return table


def _score_cells(score: "TaskScore") -> Iterator[str]:
    yield number(score.main_score)
    for side in (score.cost.query, score.cost.item):
        failed = f"{side.num_failed} failed, " if side.num_failed else ""
        reasoned = f"{percent(side.reason_rate)} reasoned, " if side.num_reasoned else ""
        yield f"{side.num_contents}: {failed}{reasoned}{number(side.seconds, 1)} s"


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
