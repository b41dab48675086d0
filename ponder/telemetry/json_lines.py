"""Log lines as JSON, one object a line, with the ids of what the process works on."""

import json
import logging
from datetime import UTC, datetime

from ponder.json_form import json_form
from ponder.telemetry.identity import current_ids

COUNTS = "counts"
"""Attribute of a log record: numbers that are to be read by programs."""


class JsonLines(logging.Formatter):
    """Formats a record as `at`, `level`, `logger`, `message`, the ids, and its `counts`.

    An error's traceback is `error`. What is not a number or text is told as text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **current_ids(),
        }
        if counts := getattr(record, COUNTS, None):
            told |= {COUNTS: json_form(counts)}
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)
