"""A folder that a benchmark fills over several runs, all of them with the same settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.atomic_file import write_atomically


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings in the folder, or hold them against those that are kept there.

    Raises:
        ValueError: the folder was begun with others.
    """
    path = folder / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        raise ValueError(
            f"a run must go on with its settings, {path.read_text()}, got {settings}; choose "
            "another folder"
        )
    if not path.exists():
        write_atomically(path, json.dumps(settings))  # another process may be reading
