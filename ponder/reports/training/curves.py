"""Curves of a training's log, one small panel for each number."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ponder.reports.html.plots import COOL, QUIET, STYLE, WIDTH_IN

AXES = ("num_done", "elapsed_s")


def write_training_curves(log: Path, path: Path) -> None:
    """Draw every number of a training's `log.jsonl` over the steps that were made, as SVG.

    Args:
        log: lines of numbers; one that lacks a name is left out of its curve.
        path: of the figure, a panel for each name, one below the other.
    """
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    figure = training_curves(rows)
    figure.savefig(path, format="svg", metadata={"Date": None})


def training_curves(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Return a figure with a panel for each number of a log but the clock's."""
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in AXES]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.4 + 1.0 * len(names)), layout="constrained")
        panels = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(panels, names, strict=True):
            drawn = [(row["num_done"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*drawn, strict=True), color=COOL, linewidth=1.2)
            axes.set_title(name, loc="left", fontsize=8.0)
            axes.grid(axis="y", color=QUIET, linewidth=0.3)
            axes.tick_params(axis="y", length=0)
        panels[-1].set_xlabel("steps")
    return figure
