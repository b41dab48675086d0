"""The page that shows what selection kept, in one file that needs nothing else."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup

from catalog.atomic_file import write_atomically
from ponder.json_form import to_json
from ponder.reports.html.template import template
from ponder.reports.selection.figure import gain_histogram
from ponder.reports.selection.report import SelectionReport


def write_selection(report: SelectionReport, folder: Path) -> Path:
    """Write `selection.json` and `selection.html` to the folder and return the page's path.

    Args:
        report: from `ponder.reports.selection.report.selection_report`.
        folder: created when missing.
    """
    write_atomically(folder / "selection.json", to_json(report, indent=1) + "\n")
    kinds = report.kinds
    page = {
        "report": report,
        "gain_figure": _figure(report.gains, report.min_gain),
        "kind_figure": _figure(kinds.gains, report.min_gain) if kinds else None,
    }
    path = folder / "selection.html"
    path.write_text(template("selection.html.j2").render(page), encoding="utf-8")
    return path


def _figure(gains: Mapping[str, list[float]], min_gain: float) -> Markup | None:
    """The histograms; None where nothing was judged."""
    arrays = {name: np.array(values) for name, values in gains.items()}
    return Markup(gain_histogram(arrays, min_gain=min_gain)) if arrays else None
