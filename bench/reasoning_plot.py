"""Figures of the reasoning benchmark: hit@1 by tier, the curve over theta, the gates at school."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from catalog.bazaar.riddles import TIERS

LABELLED = (0.5,)  # thetas
OFFSET = {"textcoords": "offset points", "fontsize": 8}
STYLE = {"svg.hashsalt": "ponder", "svg.fonttype": "none", "font.size": 9}
GREYS = ("#cccccc", "#999999", "#666666", "#000000", "#e0a060", "#f0d0b0")
CURVES = {
    "reason_frac": "share reasoned about",
    "agreement": "gate does what gains advise",
    "gain": "gain of reasoning (margin)",
}
"""What a gate's log calls them, and what they are."""


def write_theta_plot(
    path: Path, curve: Sequence[Mapping[str, float]], levels: Mapping[str, float]
) -> None:
    """Draw an SVG of the adaptive model's curve, from never to always reasoning.

    Args:
        path: file to write.
        curve: from `bench.reasoning_report.theta_curve`.
        levels: hit@1 of variants to compare with, by name.
    """
    with matplotlib.rc_context(STYLE):
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


def write_tier_plot(path: Path, rows: Mapping[str, Any]) -> None:
    """Draw an SVG of hit@1 by tier, a bar for each variant, with one deviation over seeds.

    Args:
        path: file to write.
        rows: by variant, from `bench.reasoning_report.row`; at most six.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.8), layout="constrained")
        axes = figure.add_subplot()
        width = 0.8 / len(rows)
        for number, (name, row) in enumerate(rows.items()):
            hits = [row[tier]["hit@1"] for tier in TIERS]
            places = [tier + number * width for tier in range(len(TIERS))]
            axes.bar(
                places,
                [mean for mean, _ in hits],
                width,
                yerr=[deviation or 0.0 for _, deviation in hits],
                label=name,
                color=GREYS[number],
                error_kw={"linewidth": 0.6},
            )
        axes.set_xticks([tier + 0.4 - width / 2 for tier in range(len(TIERS))], TIERS)
        axes.set_ylabel("hit@1")
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
        figure.savefig(path, metadata={"Date": None})


def write_gate_plot(path: Path, logs: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Draw an SVG of what the gates' trainings logged, a panel for each number.

    Args:
        path: file to write.
        logs: lines of `log.jsonl` by the name of the training; at least one.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.4), layout="constrained")
        panels = figure.subplots(1, len(CURVES), sharex=True)
        for axes, (key, title) in zip(panels, CURVES.items(), strict=True):
            for name, log in logs.items():
                drawn = [(row["num_done"], row[f"gate/query/{key}"]) for row in log]
                axes.plot(*zip(*drawn, strict=True), linewidth=1.0, label=name)
            axes.set_title(title, fontsize=8)
            axes.set_xlabel("steps")
        panels[0].legend(fontsize=7, frameon=False)
        figure.savefig(path, metadata={"Date": None})
