"""Curves of a training's log, one small panel for each number."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ponder.reports.run.plots import COOL, QUIET, STYLE, WIDTH_IN, inline_svg


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a training's `log.jsonl`, in order."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def training_curves(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> str:
    """SVG with a panel for each name, one below the other, over the steps that were made.

    Args:
        rows: of the log; lines that lack a name are left out of its curve.
        names: of numbers in the log, e.g. `gate/query/reason_frac`; at least one.

    Raises:
        ValueError: a name is in no line.
    """
    for name in names:
        if not any(name in row for row in rows):
            known = sorted({key for row in rows for key in row})
            raise ValueError(f"names must be in the log, got {name!r}; it has {known}")
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
        return inline_svg(figure)
