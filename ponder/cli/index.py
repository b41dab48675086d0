"""`ponder index`, `validate`, `promote`, `rollback`, `drop`: collections, and the live one."""

from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, show
from ponder.steps import index as indexing
from ponder.steps import validation, versions


def index(context: typer.Context, as_json: JsonOption = False) -> None:
    """Make the configured version's collection equal to the lake, beside the live one."""
    with failures():
        show(indexing.index(context.obj), as_json)


def validate(context: typer.Context, as_json: JsonOption = False) -> None:
    """Validate the configured version's collection; fails when it must not go live."""
    with failures():
        show(validation.validate(context.obj), as_json)


def promote(
    context: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="Whatever its validation says, or without one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve the configured version from now on, when it is valid as it is now."""
    with failures():
        show(versions.promote(context.obj, force=force), as_json)


def rollback(context: typer.Context, as_json: JsonOption = False) -> None:
    """Serve the version that was live before."""
    with failures():
        show(versions.rollback(context.obj), as_json)


def drop(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="A version that is not live.")],
    as_json: JsonOption = False,
) -> None:
    """Remove a version's collection; the lake keeps its vectors."""
    with failures():
        show(versions.drop(context.obj, version), as_json)
