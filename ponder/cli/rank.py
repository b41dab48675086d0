"""`ponder features` and `ponder rank`: what rankers learn from, and what it is worth."""

from typing import TYPE_CHECKING

import typer

from ponder.cli.options import JsonOption
from ponder.cli.terminal import bar, failures, show

if TYPE_CHECKING:
    from ponder.steps.rank import RankerReport


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


def headline(report: "RankerReport") -> dict[str, dict[str, float]]:
    """Return the ranking metrics by variant, without slices and importances."""
    metrics = report.overall.metrics if report.protocol == "impressions" else report.metrics
    return {
        name: {metric: value.mean for metric, value in by_metric.items()}
        for name, by_metric in metrics.items()
    }
