"""What thinking buys: hit@1 over the share of questions that are reasoned about."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

LABELLED = (0.25, 0.5, 0.75)  # thetas
OFFSET = {"textcoords": "offset points", "fontsize": 8}


def write_theta_plot(
    path: Path, curve: Sequence[Mapping[str, float]], levels: Mapping[str, float]
) -> None:
    """An SVG of the adaptive model's curve, from never to always reasoning.

    Args:
        path: file to write.
        curve: from `bench.reasoning_report.theta_curve`.
        levels: hit@1 of variants to compare with, by name.
    """
    with matplotlib.rc_context({"svg.hashsalt": "ponder", "svg.fonttype": "none"}):
        figure = Figure(figsize=(5.0, 3.2), layout="constrained")
        axes = figure.add_subplot()
        points = [(point["reason_rate"], point["hit@1"]) for point in curve]
        axes.plot(*zip(*points, strict=True), marker=".", color="black", linewidth=1.0)
        for point in curve:
            if point["theta"] in LABELLED:
                where = (point["reason_rate"], point["hit@1"])
                axes.annotate(f"θ = {point['theta']:g}", where, xytext=(4, -11), **OFFSET)
        for name, hit in levels.items():
            axes.axhline(hit, color="grey", linewidth=0.6, linestyle="--")
            axes.annotate(name, (0, hit), xytext=(2, 2), **OFFSET)
        axes.set_xlabel("share of questions reasoned about")
        axes.set_ylabel("hit@1, all tiers")
        figure.savefig(path, metadata={"Date": None})
