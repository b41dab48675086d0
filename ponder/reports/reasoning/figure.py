"""The account of reasoning as one figure, in a file of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ponder.reports.html.plots import STYLE

if TYPE_CHECKING:
    from ponder.reports.reasoning.account import Metrics, Sensitivity
    from ponder.reports.reasoning.report import ReasoningReport

INK, QUIET, COOL, WARM = "#22222a", "#6b6b76", "#3f6fb5", "#d9772b"
POLICIES = {"never": COOL, "auto": QUIET, "always": WARM}
SIDES = {"query": WARM, "item": COOL}
RATIONALES = {
    "right/other": "another's",
    "right/empty": "empty",
    "right/summary": "summary alone",
    "right/direct": "direct",
}
METRIC = "hit@1"
MIN_REACH = 0.05  # a difference of a thousandth must not fill the figure


def write_figure(report: "ReasoningReport", path: Path) -> None:
    """Draw the report of `ponder embedder report`; the ending of the path says as what.

    Left, what the gate makes of reasoning about more queries, against a coin that picks as many;
    middle, the policies by kind of query; right, how close a reasoned vector stays to itself when
    its rationale is changed.
    """
    colours = {"text.color": INK, "ytick.color": INK, "axes.labelcolor": QUIET}
    lines = {"axes.edgecolor": QUIET, "xtick.color": QUIET}
    with matplotlib.rc_context(STYLE | colours | lines):
        figure = Figure(figsize=(11, 3.4), layout="constrained")
        curve, policies, cosines = figure.subplots(1, 3, width_ratios=(1.1, 1.4, 1))
        _draw_curve(curve, report)
        _draw_policies(policies, report.policies)
        _draw_cosines(cosines, report.sensitivity)
        # Undated, so that equal reports are equal figures.
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=160, facecolor="white", metadata=metadata)


def _draw_curve(axes: Axes, report: "ReasoningReport") -> None:
    points = sorted(report.curve, key=lambda point: point.query_rate)
    rates = [100 * point.query_rate for point in points]
    gate = [point.queries[METRIC] for point in points]
    coin = [point.coin[METRIC] for point in points]
    axes.axhline(report.oracle[METRIC], color=COOL, linewidth=0.8, label="best choice")
    axes.plot(rates, gate, color=WARM, marker=".", label="gate")
    axes.plot(rates, coin, color=QUIET, linestyle=(0, (3, 3)), label="coin")
    chosen = next(point for point in points if point.theta == report.theta)
    at, value = 100 * chosen.query_rate, chosen.queries[METRIC]
    axes.plot(at, value, "o", color=INK, fillstyle="none", label=f"theta {report.theta:g}")
    middle = (max(gate + coin) + min(gate + coin)) / 2
    reach = max(MIN_REACH, max(gate + coin) - min(gate + coin))
    axes.set_ylim(middle - reach, min(middle + reach, 1.01))
    axes.set_xlabel("queries reasoned about, %")
    axes.set_ylabel(f"{METRIC}, over direct items")
    axes.legend(frameon=False)


def _draw_policies(axes: Axes, policies: "Mapping[str, Mapping[str, Metrics]]") -> None:
    slices = list(policies["never"])
    for place, (name, colour) in enumerate(POLICIES.items()):
        values = [policies[name][kind][METRIC] for kind in slices]
        middles = [x + 0.27 * (place - 1) for x in range(len(slices))]
        axes.bar(middles, values, 0.25, color=colour, label=name)
    axes.set_xticks(range(len(slices)), slices, rotation=20)
    axes.set_ylabel(METRIC)
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))


def _draw_cosines(axes: Axes, sensitivity: "Mapping[str, Sensitivity]") -> None:
    for place, (side, colour) in enumerate(SIDES.items()):
        values = [sensitivity[side].cosine[name].mean for name in RATIONALES]
        middles = [y + 0.18 * (2 * place - 1) for y in range(len(RATIONALES))]
        axes.barh(middles, values, 0.33, color=colour, label=side)
    axes.set_yticks(range(len(RATIONALES)), list(RATIONALES.values()))
    axes.invert_yaxis()
    axes.set_xlabel("cosine to its own rationale's")
    axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
