"""The `ponder lake` commands."""

from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, printable, show
from ponder.json_form import json_form
from ponder.steps import maintenance as steps

app = typer.Typer(help="Upkeep of the lake's tables.", no_args_is_help=True)


@app.command()
def compact(context: typer.Context, as_json: JsonOption = False) -> None:
    """Make few large files of many small ones; no row changes."""
    with failures():
        show(steps.compact(context.obj), as_json)


@app.command()
def vacuum(
    context: typer.Context,
    days: Annotated[
        int, typer.Option(help="Tables stay readable as they were so many days ago.", min=0)
    ] = 30,
    media: Annotated[
        bool, typer.Option("--media", help="Drop images too that no item shows for as long.")
    ] = False,
    deleted: Annotated[
        bool,
        typer.Option("--deleted", help="Drop too what was made of items deleted for as long."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count the files and bytes.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Allow less than 7 days.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove files that no moment of the last 30 days needs."""
    with failures():
        done = json_form(
            steps.vacuum(
                context.obj, days=days, force=force, media=media, deleted=deleted, dry_run=dry_run
            )
        )
    tables = done.pop("tables")
    show({name: value for name, value in done.items() if value is not None} | tables, as_json)


@app.command()
def history(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="items, events, embeddings...")],
    limit: Annotated[int, typer.Option(help="How many commits.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List a table's commits, newest first: each is a moment it can be read at."""
    with failures():
        commits = steps.history(context.obj, table, limit=limit)
    if as_json:
        show({"commits": commits}, as_json)
        return
    for commit in commits:
        line(
            f"{commit.version:>7}  {commit.at:%Y-%m-%d %H:%M:%S}  {commit.operation:<18} "
            f"+{commit.written} -{commit.deleted} {printable(commit.origin)}".rstrip()
        )


@app.command()
def accept(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="items, events, embeddings...")],
    reason: Annotated[str, typer.Option(help="Why, as the table's history will show it.")],
    as_json: JsonOption = False,
) -> None:
    """Accept that what a table lost until now was meant to go; `ponder audit` finds it no more."""
    with failures():
        show(steps.accept(context.obj, table, reason=reason), as_json)
