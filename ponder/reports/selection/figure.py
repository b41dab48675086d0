"""The figure of selection's page: what rationales gain."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ponder.reports.html.plots import (
    QUIET,
    STYLE,
    WIDTH_IN,
    draw_histogram,
    inline_svg,
    row_label,
)


def gain_histogram(gains: Mapping[str, np.ndarray], *, min_gain: float) -> str:
    """Return SVG with a histogram of gains for each worker or kind, one below the other.

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
            draw_histogram(axes, within, theta=above, bottom=bottom, span=(low, high))
        axes.axvline(min_gain, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set_xlim(low - 0.01 * (high - low), high + 0.01 * (high - low))
        axes.set_xlabel("gain, nats")
        axes.set_yticks(
            [len(gains) - 1 - row + 0.3 for row in range(len(gains))],
            [row_label(name, values, above) for name, values in gains.items()],
        )
        axes.tick_params(axis="y", length=0)
        return inline_svg(figure)
