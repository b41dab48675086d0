"""`ponder features`: what rankers learn from."""

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import failures, show


def features(context: typer.Context, as_json: JsonOption = False) -> None:
    """Export the match features of every request, point in time."""
    from ponder.steps.features import export_features

    with failures():
        show(export_features(context.obj), as_json)
