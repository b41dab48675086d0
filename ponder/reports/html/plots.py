"""Figures as SVG to be laid into a page, whose colours and font they take."""

import io
import re
from typing import Any

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


def draw_histogram(
    axes: Axes,
    values: np.ndarray,
    *,
    theta: float,
    bottom: float,
    span: tuple[float, float] = (0, 1),
) -> None:
    """Draw a histogram with one colour below theta and the warm one from theta on.

    Bars are as high as the root of what they count, so that a single value is seen beside hundreds.

    Args:
        axes: drawn into.
        values: at least one.
        theta: where the warm colour begins.
        bottom: height that the bars stand on; they are at most 0.75 high.
        span: what the bars cover, from and to.
    """
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


def row_label(name: str, values: np.ndarray, theta: float) -> str:
    """Return the name of a row, cut short, and below it how many values are at theta or above."""
    short = name if len(name) <= 20 else name[:19] + "…"
    return f"{short}\n{(values >= theta).sum()} of {len(values)}"


def inline_svg(figure: Figure) -> str:
    """Return a figure without what only a file of its own needs: prolog, metadata, namespaces."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    for drawn, on_page in PAGE_COLOURS.items():
        svg = svg.replace(drawn, on_page)
    return svg.strip()
