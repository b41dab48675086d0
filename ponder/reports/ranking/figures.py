"""The figures of an experiment, as SVG to be laid into its page."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from evaluation.bootstrap import Interval
from evaluation.calibration import Calibration
from ponder.reports.html.plots import COOL, QUIET, STYLE, WARM, WIDTH_IN, inline_svg
from ranker.learning_curve import CurvePoint

SIDE_IN = 2.6  # of a square figure


def gains(differences: Mapping[str, Interval], *, metric: str) -> str:
    """Return SVG with a dot and its interval for each difference, one below another.

    An interval that excludes zero is in the warm colour.

    Args:
        differences: name -> difference; one that is not a number keeps its row, without a dot.
        metric: named below.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.6 + 0.22 * len(differences)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)))
        for row, found in enumerate(differences.values()):
            colour = WARM if found.low > 0 or found.high < 0 else COOL
            axes.plot([found.low, found.high], [row, row], color=colour, linewidth=1.6)
            axes.plot([found.mean], [row], "o", color=colour, markersize=4.5)
        axes.set_yticks(range(len(differences)), list(differences))
        axes.set_ylim(len(differences) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"difference in {metric}")
        return inline_svg(figure)


def bars(values: Mapping[str, float], *, label: str) -> str:
    """Return SVG with a bar for each value, the first on top."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.6 + 0.2 * len(values)), layout="constrained")
        axes = figure.add_subplot()
        drawn = axes.barh(list(values), list(values.values()), 0.7, color=COOL)
        axes.bar_label(drawn, fmt="%.3g", padding=3, color=QUIET, fontsize=8)
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(label)
        return inline_svg(figure)


def reliability(found: Calibration) -> str:
    """Return SVG of the observed share over the predicted probability; the diagonal is perfect."""
    predicted = [b.predicted for b in found.bins]
    observed = [b.observed for b in found.bins]
    top = max([*predicted, *observed, 0.01]) * 1.05
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(SIDE_IN, SIDE_IN), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, top], [0, top], color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.plot(predicted, observed, "o-", color=WARM, markersize=4, linewidth=1.2)
        axes.set_xlabel("predicted")
        axes.set_ylabel("observed")
        return inline_svg(figure)


def learning_curve(points: Sequence[CurvePoint]) -> str:
    """Return SVG of ndcg@10 by trees: on what was learnt from (cool) and on the test (warm)."""
    trees = [point.num_trees for point in points]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(SIDE_IN, SIDE_IN), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(trees, [point.train for point in points], color=COOL, linewidth=1.4)
        axes.plot(trees, [point.test for point in points], color=WARM, linewidth=1.4)
        axes.set_xlabel("trees")
        axes.set_ylabel("ndcg@10")
        return inline_svg(figure)
