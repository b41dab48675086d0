"""`ponder models`: the registered versions, where they come from, and which one is the champion."""

from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, show
from ponder.wiring.artifacts import shared

app = typer.Typer(help="Look at fine-tuned versions and choose the champion.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="A registered version, or champion.")]


@app.command(name="list")
def list_versions(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the registered versions, their base, and what their evaluation said."""
    with failures(), shared(context.obj, "models"):
        registry = context.obj.registry
        champion = registry.champion()
        lineages = {name: registry.manifest(name)["lineage"] for name in registry.names()}
    rows = [
        {
            "name": name,
            "champion": name == champion,
            "created_at": lineage["created_at"],
            "base": lineage["base"],
            "passed": lineage["evaluation"]["promoted"],
        }
        for name, lineage in lineages.items()
    ]
    if as_json:
        show({"versions": rows}, as_json)
        return
    for row in sorted(rows, key=lambda row: (row["created_at"], row["name"]), reverse=True):
        mark = "champion" if row["champion"] else ""
        verdict = "passed" if row["passed"] else "refused"
        line(f"{row['name']:<28} {mark:<9} {row['created_at']} {verdict:<8} from {row['base']}")


@app.command(name="show")
def show_version(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Show a version's manifest: how it is used, and its lineage."""
    with failures(), shared(context.obj, "models"):
        show(context.obj.registry.manifest(name), as_json)


@app.command()
def promote(
    context: typer.Context,
    name: NameArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Even a version whose evaluation was against it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion, which PONDER_MODEL=registry:champion follows."""
    with failures(), shared(context.obj, "models"):
        registry = context.obj.registry
        evaluation = registry.manifest(name)["lineage"]["evaluation"]
        if not evaluation["promoted"] and not force:
            reasons = "; ".join(c["says"] for c in evaluation["checks"] if not c["passed"])
            raise ValueError(f"{name} is not promoted: {reasons}; --force promotes it anyway")
        show({"before": registry.promote(name), "champion": registry.champion()}, as_json)
