"""What gates said about a deployment's own queries and items, kept so that a budget gives a theta.

gates/<version>.json     of each side the gate's probabilities and the time of both modes
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from catalog.atomic_file import write_atomically
from embedder.reasoning_budget import MeasuredGate, parse_budget
from ponder.json_form import to_json

if TYPE_CHECKING:
    from embedder.content import Side


def keep_measured_gates(folder: Path, version: str, gates: "Mapping[Side, MeasuredGate]") -> None:
    """Keep what a version's gate said, in the place of what was measured before."""
    write_atomically(_path(folder, version), to_json(dict(gates)) + "\n")


def theta_for(folder: Path, version: str, side: "Side", budget: str) -> float:
    """Return the theta with which what was measured keeps within a budget.

    Args:
        folder: of the measurements.
        version: whose gate decides.
        side: whose budget it is.
        budget: as of `embedder.reasoning_budget.parse_budget`.

    Raises:
        LookupError: nothing was measured of the version.
        ValueError: the budget is none.
    """
    path = _path(folder, version)
    if not path.exists():
        raise LookupError(
            f"a budget of {budget} needs what the gate of {version} says of queries and items like "
            "the deployment's own, and nothing was measured; run ponder embedder report --data DATA"
        )
    gate = msgspec.convert(json.loads(path.read_text())[side], MeasuredGate)
    return gate.theta(parse_budget(budget))


def _path(folder: Path, version: str) -> Path:
    return folder / f"{version}.json"
