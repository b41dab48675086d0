"""Reports that steps keep in the reports folder, for the HTML page and for whoever compares."""

from typing import Any

from catalog.atomic_file import write_atomically
from ponder.json_form import to_json
from ponder.settings import Settings
from ponder.wiring.artifacts import shared


def write_report(settings: Settings, name: str, report: Any) -> None:
    """Keep a report as JSON under its name, in place of the one before."""
    with shared(settings, "reports"):
        write_atomically(settings.reports_folder / f"{name}.json", to_json(report, indent=1) + "\n")
