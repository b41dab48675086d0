"""Reports that steps keep beside the lake, for the HTML page to read."""

import json

from ponder.settings import Settings
from ponder.steps.land import Counts


def write_report(settings: Settings, name: str, report: Counts) -> None:
    """Keeps a report as JSON in the reports folder."""
    settings.reports_folder.mkdir(parents=True, exist_ok=True)
    path = settings.reports_folder / f"{name}.json"
    path.write_text(json.dumps(report, indent=1, default=str) + "\n")
