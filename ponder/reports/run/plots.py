"""The report's figures, as SVG to be laid into a page, whose colours and font they take."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Matplotlib knows no CSS: it draws in colours that nothing else has, and the SVG then names the
# page's colours in their place, so that a figure follows the page into dark mode.
INK, QUIET, COOL, WARM = "#010101", "#020202", "#030303", "#040404"
PAGE_COLOURS = {
    INK: "currentColor",
    QUIET: "var(--quiet)",
    COOL: "var(--cool)",
    WARM: "var(--warm)",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, sharp, selectable, in the page's font
    "svg.hashsalt": "ponder",  # equal figures are equal bytes
    "text.parse_math": False,  # labels may be a stranger's words
    "text.color": INK,
    "font.size": 9.0,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
WIDTH_IN = 4.2  # narrow, so that the words are still legible on a phone
NUM_BINS = 40


def gate_histogram(probabilities: Mapping[str, np.ndarray], *, theta: float) -> str:
    """SVG with a histogram of gate probabilities for each kind of input, one below the other.

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
            _histogram(axes, values, theta=theta, bottom=len(probabilities) - 1 - row)
        axes.axvline(theta, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set_xlim(-0.01, 1.01)
        axes.set_xlabel("gate's probability of reasoning")
        axes.set_yticks(
            [len(probabilities) - 1 - row + 0.3 for row in range(len(probabilities))],
            [_row_label(name, values, theta) for name, values in probabilities.items()],
        )
        axes.tick_params(axis="y", length=0)
        return inline_svg(figure)


def importance_bars(shares: Mapping[str, float], *, warm: Sequence[str]) -> str:
    """SVG with a bar for each feature, the first on top.

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


def gain_histogram(gains: Mapping[str, np.ndarray], *, min_gain: float) -> str:
    """SVG with a histogram of gains for each worker or kind, one below the other.

    Bars are as high as the root of what they count. What gains more than `min_gain`, and is kept,
    is in the warm colour. The outermost bars hold what lies beyond the middle 98 % of all gains.

    Args:
        gains: name -> gains in nats; at least one each.
        min_gain: what a rationale must gain more than.
    """
    low, high = np.quantile(np.concatenate(list(gains.values())), [0.01, 0.99])
    low, high = min(low, min_gain) - 0.1, max(high, min_gain) + 0.1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 0.6 + 0.55 * len(gains)), layout="constrained")
        axes = figure.add_subplot()
        # One number finer than the threshold: what is equal to it is not kept.
        above = np.nextafter(min_gain, np.inf)
        for row, values in enumerate(gains.values()):
            within = np.clip(values, low, high)
            bottom = len(gains) - 1 - row
            _histogram(axes, within, theta=above, bottom=bottom, span=(low, high))
        axes.axvline(min_gain, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set_xlim(low - 0.01 * (high - low), high + 0.01 * (high - low))
        axes.set_xlabel("gain, nats")
        axes.set_yticks(
            [len(gains) - 1 - row + 0.3 for row in range(len(gains))],
            [_row_label(name, values, above) for name, values in gains.items()],
        )
        axes.tick_params(axis="y", length=0)
        return inline_svg(figure)


def _histogram(
    axes: Axes,
    values: np.ndarray,
    *,
    theta: float,
    bottom: float,
    span: tuple[float, float] = (0, 1),
) -> None:
    edges = np.linspace(*span, NUM_BINS + 1)
    direct, _ = np.histogram(values[values < theta], edges)
    reasoned, _ = np.histogram(values[values >= theta], edges)
    scale = 0.75 / np.sqrt((direct + reasoned).max())
    heights = np.sqrt(direct + reasoned) * scale
    share = reasoned / np.maximum(direct + reasoned, 1)
    width = 0.9 * (span[1] - span[0]) / NUM_BINS
    middles = (edges[1:] + edges[:-1]) / 2
    axes.axhline(bottom, color=QUIET, linewidth=0.4)
    axes.bar(middles, heights * (1 - share), width, bottom=bottom, color=COOL)
    axes.bar(middles, heights * share, width, bottom=bottom + heights * (1 - share), color=WARM)


def _row_label(name: str, values: np.ndarray, theta: float) -> str:
    short = name if len(name) <= 20 else name[:19] + "…"
    return f"{short}\n{(values >= theta).sum()} of {len(values)}"


def inline_svg(figure: Figure) -> str:
    """The figure without what only a file of its own needs: prolog, metadata, namespaces."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    for drawn, on_page in PAGE_COLOURS.items():
        svg = svg.replace(drawn, on_page)
    return svg.strip()
