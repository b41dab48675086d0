"""`ponder run`, `demo` and `report`: the whole pipeline on a folder, and the page about it."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ponder.cli import evaluate as evaluate_cli
from ponder.cli import ranker as ranker_cli
from ponder.cli.embed import embed_all
from ponder.cli.options import DataOption, JsonOption, MaxDeleteOption, SnapshotOption
from ponder.cli.terminal import bar, failures, line, out, show
from ponder.settings import Settings
from ponder.steps.evaluate import RecallEvaluation, evaluate
from ponder.steps.index import index
from ponder.steps.land import land_folder
from ponder.steps.validation import validate
from ponder.steps.versions import promote


def run(
    context: typer.Context,
    data: DataOption,
    snapshot: SnapshotOption = False,
    max_delete_share: MaxDeleteOption = 0.1,
    as_json: JsonOption = False,
) -> None:
    """Run the whole pipeline on a folder: land, embed, index, promote, evaluate, rank, report."""
    with failures():
        result, recall = _run(
            context.obj, data, snapshot=snapshot, max_delete_share=max_delete_share
        )
    show(result, as_json)
    if not as_json:
        if recall.queries:
            out.print(evaluate_cli.reasoning_table(recall.queries))
        line("\nLook at what it did, in a browser:")
        line(f"  {result['report']}")
        line("Search it yourself, at the address that this prints:")
        line(f"  {serve_command(context.obj.home, program=sys.argv[0])}")


def serve_command(home: Path, *, program: str) -> str:
    """Return the command that serves a home, as somebody types it who has just run `program`.

    Example:
        >>> serve_command(Path(".ponder/demo"), program=".venv/bin/ponder")
        '.venv/bin/ponder --home .ponder/demo serve'
        >>> serve_command(Path("my home"), program="/x/ponder/__main__.py")
        "ponder --home 'my home' serve"
    """
    typed = program if Path(program).name == "ponder" else "ponder"
    return shlex.join([typed, "--home", str(home), "serve"])


def _run(
    settings: Settings, data: Path, *, snapshot: bool, max_delete_share: float
) -> tuple[dict[str, Any], RecallEvaluation]:
    """Return what every step had to say, and the evaluation of recall in full."""
    from ponder.reports.run.page import write_html

    result: dict[str, Any] = {}
    with bar("land") as progress:
        result["land"] = land_folder(
            settings,
            data,
            snapshot=snapshot,
            max_delete_share=max_delete_share,
            progress=progress,
        )
    result["embed"] = embed_all(settings)
    steps: dict[str, Callable[[Settings], Any]] = {
        "index": index,
        "validate": validate,
        "promote": promote,
    }
    for name, step in steps.items():
        with bar(name):
            result[name] = step(settings)
    queries = data / "queries.jsonl"
    with bar("evaluate") as progress:
        recall = evaluate(settings, queries if queries.exists() else None, progress=progress)
    result |= evaluate_cli.headline(recall)
    result |= _rank(settings)
    with bar("report"):
        result["report"] = str(write_html(settings))
    return result, recall


def _rank(settings: Settings) -> dict[str, Any]:
    """Export features and train the ranker; only say so where there is nothing to learn from."""
    from ponder.steps.features import NothingToLearn, export_features
    from ponder.steps.rank import train_ranker

    try:
        with bar("features"):
            features = export_features(settings)
    except NothingToLearn as nothing:
        return {"rank": {"nothing to rank": str(nothing)}}
    with bar("rank") as progress:
        trained = train_ranker(settings, progress=progress)
    return {"features": features, "rank": ranker_cli.metrics_by_variant(trained.report)}


def demo(
    context: typer.Context,
    items: Annotated[int, typer.Option(help="Items of the catalogue.", min=50)] = 2_000,
    users: Annotated[int, typer.Option(help="Shoppers.", min=20)] = 300,
) -> None:
    """Generate a bazaar and run the whole pipeline on it; minutes on two cores."""
    from catalog.bazaar.generator import BazaarConfig, write_bazaar

    folder = context.obj.home / "bazaar"
    with failures(), bar("bazaar"):
        write_bazaar(folder, BazaarConfig(num_items=items, num_users=users))
    run(context, folder)


def report(context: typer.Context, as_json: JsonOption = False) -> None:
    """Write the HTML report of what the last run did."""
    from ponder.reports.run.page import write_html

    with failures():
        show({"path": str(write_html(context.obj))}, as_json)
