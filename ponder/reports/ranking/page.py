"""The page of an experiment, in one file that needs nothing else."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evaluation.bootstrap import Interval
from ponder.json_form import json_form
from ponder.reports.html.template import template
from ponder.reports.ranking import figures
from ponder.steps.experiment import RatingsExperiment
from ranker.experiment import ExperimentReport
from ranker.floors import FLOORS

METRIC = "gauc"
"""Drawn by slice: the order inside requests, whatever their number of rows."""

NUM_FEATURES = 15


def write_experiment(report: ExperimentReport, folder: Path) -> Path:
    """Write `experiment.html` to the folder, created when missing, and return its path.

    Equal reports give equal bytes.
    """
    last = list(report.variants)[-1]
    page = {
        "report": json_form(report),
        "first": next(iter(report.variants)),
        "last": last,
        "gain_figure": Markup(figures.gains(_gains(report, last), metric=METRIC)),
        "importance_figure": _bars(report.importances, "share of the trees' gain"),
        "contribution_figure": _bars(report.contributions, "mean absolute contribution (SHAP)"),
        "reliability_figures": {
            name: Markup(figures.reliability(found)) for name, found in report.calibration.items()
        },
        "curve_figures": {
            name: Markup(figures.learning_curve(points)) for name, points in report.curves.items()
        },
    }
    return _write("experiment.html.j2", page, folder)


def write_ratings_experiment(report: RatingsExperiment, folder: Path) -> Path:
    """Write `experiment.html` of a log of ratings; as `write_experiment`."""
    variants = [name for name in report.as_of.metrics if name not in FLOORS]
    rules = {
        "As of the request": (
            report.as_of,
            "Floors and rankers know what was liked before the request, and nothing later.",
        ),
        "Everything known": (
            report.all_known,
            "Floors and rankers know what everybody likes at any time, but the answers: the rule "
            "of most published numbers, and nothing that a service could keep.",
        ),
    }
    page = {
        "first": json_form(report.as_of),
        "baseline": variants[0],
        "last": variants[-1],
        "tables": [
            {
                "title": title,
                "says": says,
                "report": json_form(part),
                "importance_figure": _bars(part.importances, "share of the trees' gain"),
            }
            for title, (part, says) in rules.items()
        ],
    }
    return _write("ratings_experiment.html.j2", page, folder)


def _write(name: str, page: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "experiment.html"
    path.write_text(template(name).render(page), encoding="utf-8")
    return path


def _gains(report: ExperimentReport, name: str) -> dict[str, Interval]:
    """What the last variant has over the first: on the whole test, then on each of its parts."""
    found = {"all": report.overall.differences[name][METRIC]}
    for slicing, parts in report.slices.items():
        for label, part in parts.items():
            found[f"{slicing.replace('_', ' ')}: {label}"] = part.differences[name][METRIC]
    return found


def _bars(values: Mapping[str, float], label: str) -> Markup:
    return Markup(figures.bars(dict(islice(values.items(), NUM_FEATURES)), label=label))
