"""The figures of a run's page: what the gate decided, and what a ranker looks at."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ponder.reports.html.plots import (
    COOL,
    QUIET,
    STYLE,
    WARM,
    WIDTH_IN,
    draw_histogram,
    inline_svg,
    row_label,
)


def gate_histogram(probabilities: Mapping[str, np.ndarray], *, theta: float) -> str:
    """Return SVG with a histogram of gate probabilities for each kind of input, one on another.

    Bars are as high as the root of what they count, so that a single input is seen beside
    hundreds. What is at or above `theta`, and is reasoned about, is in the warm colour.

    Args:
        probabilities: kind of input -> probabilities of `reason`, in [0, 1]; at least one each.
        theta: from which probability on the gate reasons.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.6 + 0.55 * len(probabilities)), layout="constrained")
        axes = figure.add_subplot()
        for row, values in enumerate(probabilities.values()):
            draw_histogram(axes, values, theta=theta, bottom=len(probabilities) - 1 - row)
        axes.axvline(theta, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set_xlim(-0.01, 1.01)
        axes.set_xlabel("gate's probability of reasoning")
        axes.set_yticks(
            [len(probabilities) - 1 - row + 0.3 for row in range(len(probabilities))],
            [row_label(name, values, theta) for name, values in probabilities.items()],
        )
        axes.tick_params(axis="y", length=0)
        return inline_svg(figure)


def importance_bars(shares: Mapping[str, float], *, warm: Sequence[str]) -> str:
    """Return SVG with a bar for each feature, the first on top.

    Args:
        shares: feature -> share of the gain, in [0, 1].
        warm: the features drawn in the warm colour; the others are cool.
    """
    names = list(shares)
    colours = [WARM if name in warm else COOL for name in names]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.6 + 0.2 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        bars = axes.barh(names, [100 * share for share in shares.values()], 0.7, color=colours)
        axes.bar_label(bars, fmt="%.1f", padding=3, color=QUIET, fontsize=8)
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("share of the gain, %")
        return inline_svg(figure)
