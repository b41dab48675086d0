"""`ponder doctor`: what is wrong with a deployment, and what to do about it."""

from typing import Annotated

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, line, printable, show


def doctor(
    context: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option(help="Look at this alone, e.g. kafka; may be repeated.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds that each look may take; all run at once.", min=0.1)
    ] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong with the deployment, and what to do; exit code 1 if anything is."""
    from ponder.doctor.examination import examine

    with failures():
        result = examine(context.obj, only=only or (), timeout_s=timeout)
    if as_json:
        show(
            {"is_sound": result.is_sound, "checks": result.checks, "problems": result.problems},
            as_json,
        )
    else:
        for each in result.problems:
            line(printable(f"{'FAULT' if each.is_fault else 'note'}  {each.check}: {each.what}"))
            line(printable(f"       do: {each.remedy}"))
        line(f"looked at {', '.join(result.checks)}; {len(result.problems)} found")
    if not result.is_sound:
        raise typer.Exit(1)
