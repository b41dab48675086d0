"""`ponder plan` and `ponder embed`: what the configured version has not embedded yet."""

from dataclasses import asdict
from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, show
from ponder.settings import Settings
from ponder.steps import embed as steps


def plan(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what the configured model version has not embedded yet."""
    with failures():
        show(asdict(steps.plan(context.obj)), as_json)


def embed(
    context: typer.Context,
    workers: Annotated[
        int, typer.Option(help="Processes, each with a model and a GPU of its own.", min=1)
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Embed everything that is new."""
    with failures():
        show(embed_all(context.obj, num_workers=workers), as_json)


def embed_all(settings: Settings, *, num_workers: int = 1) -> steps.Embedded:
    """Embed whatever is left, behind a progress bar."""
    planned = steps.plan(settings)
    with bar("embed", planned.num_items) as progress:
        return steps.embed_shards(
            settings, planned.shards, num_workers=num_workers, progress=progress
        )
