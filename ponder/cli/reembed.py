"""`ponder reembed`: change the model without fear."""

from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, line, show
from ponder.json_form import json_form
from ponder.steps import reembed as steps


def reembed(
    context: typer.Context,
    to: Annotated[
        str,
        typer.Option(
            help="A registered version or champion, else an embedder as PONDER_MODEL takes it "
            "[default: the configured one]"
        ),
    ] = "",
    workers: Annotated[
        int, typer.Option(help="Processes, each with a model and a GPU of its own.", min=1)
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would take; a few items are timed.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Although memory is short, and whatever validation says."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve another version: fill it beside the live one, catch up, validate, and switch."""
    with failures():
        planned = steps.plan_reembed(context.obj, to=to, timed=dry_run)
        if dry_run:
            show(json_form(planned) | {"fits": planned.fits}, as_json)
            return
        with bar("embed", planned.to_embed) as progress:
            done = steps.reembed(
                context.obj, to=to, force=force, num_workers=workers, progress=progress
            )
    show(done, as_json)
    if not as_json and to:
        line("\nFrom now on nightly runs must embed with it too: set PONDER_MODEL accordingly.")
