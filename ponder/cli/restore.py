"""`ponder restore`: tables as they were, collections from the lake, damaged exports."""

from datetime import datetime
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, moment, show
from ponder.steps import restore as steps

app = typer.Typer(help="Bring back what was lost or spoilt.", no_args_is_help=True)


@app.command()
def table(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="items, events, embeddings...")],
    to: Annotated[
        int | None, typer.Option(help="Commit, as `ponder lake history` lists them.", min=0)
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Or a time, e.g. 2026-01-31T08:00:00Z: as it was then.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a table back to what it was; what it is now stays in its history."""
    with failures():
        target = _target(to, at)
        state = steps.earlier_table(context.obj, name, target)
        if dry_run:
            show(state, as_json)
            return
        if not yes:
            typer.confirm(
                f"{name} has {state.present_rows} rows, and would have {state.rows}, as of "
                f"{state.at:%Y-%m-%d %H:%M:%S} UTC. Bring it back?",
                abort=True,
                err=True,
            )
        done = steps.restore_table(context.obj, name, state.version)
        show(done, as_json)


@app.command()
def index(
    context: typer.Context,
    version: Annotated[
        str, typer.Option(help="Whose collection [default: the live version's and the previous]")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Fill collections from the lake, also of a Milvus that is new; nothing is embedded."""
    with failures():
        show(steps.restore_index(context.obj, version=version), as_json)


@app.command()
def features(context: typer.Context, as_json: JsonOption = False) -> None:
    """Make days of the export of match features again whose files are gone or damaged."""
    with failures():
        done = steps.restore_features(context.obj)
        show(done, as_json)
        if not (as_json or done.is_as_before):
            line("The lake has changed since: train the ranker anew.")


def _target(to: int | None, at: str | None) -> int | datetime:
    if to is not None and at is None:
        return to
    if at is not None and to is None:
        return moment(at)
    raise ValueError(
        "either --to COMMIT or --at TIME must be given; `ponder lake history` has both"
    )
