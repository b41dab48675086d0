"""`ponder features` and `ponder rank`: what rankers learn from, and what it is worth."""

from typing import Any

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, show


def features(context: typer.Context, as_json: JsonOption = False) -> None:
    """Export the match features of every request, point in time."""
    from ponder.steps.features import export_features

    with failures():
        show(export_features(context.obj), as_json)


def rank(context: typer.Context, as_json: JsonOption = False) -> None:
    """Train the ranker with and without match features, and compare them."""
    from ponder.steps.rank import train_ranker

    with failures(), bar("rank") as progress:
        report = train_ranker(context.obj, progress=progress)
    show(report if as_json else headline(report), as_json)


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """The ranking metrics by variant, without slices and importances."""
    judged = report.get("overall", report)
    return {
        name: {metric: value["mean"] for metric, value in metrics.items()}
        for name, metrics in judged["metrics"].items()
    }
