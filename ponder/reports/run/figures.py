"""The figures of a run's page: what the gate decided, what match features gain, what is used."""

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


def difference_intervals(differences: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return SVG with a dot and its interval for each difference, one below another.

    An interval that excludes zero is in the warm colour. A difference that is not known keeps its
    row, without a dot.

    Args:
        differences: name -> `mean`, `low` and `high`; None or NaN where there is none.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.6 + 0.22 * len(differences)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)))
        for row, interval in enumerate(differences.values()):
            mean, low, high = (_number(interval[end]) for end in ("mean", "low", "high"))
            colour = WARM if low > 0 or high < 0 else COOL
            axes.plot([low, high], [row, row], color=colour, linewidth=1.6)
            axes.plot([mean], [row], "o", color=colour, markersize=4.5)
        axes.set_yticks(range(len(differences)), list(differences))
        axes.set_ylim(len(differences) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("difference in ndcg@10")
        return inline_svg(figure)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


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
