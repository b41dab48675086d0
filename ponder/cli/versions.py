"""`ponder versions`: what has an index, which one is live, and which may go."""

from datetime import datetime
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, show
from ponder.steps import versions as steps

app = typer.Typer(
    help="Show the versions that have an index, and retire those that nobody needs.",
    invoke_without_command=True,
)


@app.callback()
def list_versions(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the versions: role, state, items, size, dates and what the validation measured."""
    if context.invoked_subcommand is not None:
        return
    with failures():
        found = steps.versions(context.obj)
    if as_json:
        show({"versions": found}, as_json)
        return
    for each in found:
        line(
            f"{each.version:<36} {each.role:<8} {each.state:<9} {each.index_kind or '-':<9} "
            f"{each.num_items:>9} items "
            f"{each.vector_bytes / 2**20:>9.1f} MiB  filled {_day(each.filled_at)}  "
            f"validated {_day(each.validated_at)}  live {_day(each.live_at)}"
        )
        for problem in each.problems:
            line(f"    ALARM {problem}")
        for name, value in each.metrics.items():
            line(f"    {name:<16} {_shown(value)}")


@app.command()
def retire(
    context: typer.Context,
    keep: Annotated[
        int, typer.Option(help="So many stay beside live and previous, the last used.", min=0)
    ] = 1,
    days: Annotated[float, typer.Option(help="And those used within so many days.", min=0)] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Drop collections that are neither live nor previous; the lake keeps their vectors."""
    with failures():
        show(steps.retire(context.obj, keep=keep, days=days, dry_run=dry_run), as_json)


def _day(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    return f"{value:.4f}" if isinstance(value, float) else str(value)
