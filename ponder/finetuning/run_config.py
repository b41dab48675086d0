"""The configuration of a run, in its folder: written when it starts, held to when it goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.atomic_file import write_atomically
from ponder.finetuning.config import FinetuneConfig
from ponder.finetuning.options import built, flattened, merged, options, tables
from ponder.finetuning.recipes import by_option
from ponder.json_form import to_json


def keep_config(config: FinetuneConfig, folder: Path) -> None:
    """Write the configuration to the folder of its run, or hold it against the one there.

    Raises:
        ValueError: the run was started with another configuration, or by an earlier version.
    """
    earlier = read_config(folder)
    if earlier is None:
        write_atomically(folder / "config.json", to_json(tables(config), indent=1) + "\n")
        return
    asked, was = flattened(config), flattened(earlier)
    changed = [name for name in options() if asked.get(name) != was.get(name)]
    if changed:
        raise ValueError(
            f"a run goes on as it was started; {folder} has other {', '.join(changed)}: "
            f"{[was.get(name) for name in changed]}; choose another folder with --out"
        )


def read_config(folder: Path) -> FinetuneConfig | None:
    """Return what the run of a folder was started with; None where none was started.

    Raises:
        ValueError: it was started by a version of Ponder that kept other settings.
    """
    path = folder / "config.json"
    if not path.exists():
        return None
    values: dict[str, Any] = json.loads(path.read_text())
    if "joint" not in values:
        raise ValueError(
            f"{folder} was started by an earlier version of Ponder, whose settings had other names "
            "and whose recipe was another; finish it with that version, or choose another folder "
            "with --out to start anew"
        )
    recipe = values.pop("recipe")
    try:
        return built(merged({}, known_values(by_option(values))), recipe=recipe)
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read: {error}; it was started by another version of Ponder: finish "
            "it with that one, or choose another folder with --out"
        ) from error


def known_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values without those of options that are gone and had left something out.

    What was none, or weighed 0, made no difference, so the run goes on as it was started.
    """
    return {
        name: value
        for name, value in values.items()
        if name in options() or not (value is None or (isinstance(value, float) and value == 0))
    }
