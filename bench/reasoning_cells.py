"""Cells of the reasoning benchmark: one training of one worker mix and seed, done once.

A cell is the folder of a fine-tune and, when its model has been asked, `result.json`. A killed run
goes on after the last saved step; a finished cell is not touched again.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.reasoning_gains import gains
from bench.reasoning_outcomes import outcomes
from bench.reasoning_runs import Runs
from bench.reasoning_variants import TRAININGS
from catalog.atomic_file import write_atomically
from ponder.finetuning.options import tables
from ponder.json_form import to_json

logger = logging.getLogger(__name__)

ANY_MIX = "any"  # where a training stands that no mix makes a difference to


@dataclass(frozen=True, slots=True)
class Cell:
    """A training of one mix and seed."""

    training: str
    mix: str
    seed: int

    @property
    def place(self) -> str:
        """Its folder within the run's."""
        return f"{self.mix}/seed{self.seed}/{self.training}"


def cell_of(training: str, mix: str, seed: int) -> Cell:
    """Return the cell of a training; one place for all mixes if they make no difference."""
    return Cell(training, mix if TRAININGS[training].has_rationales else ANY_MIX, seed)


def with_parents(cells: Iterable[Cell]) -> list[Cell]:
    """Return the cells, each once and behind those whose runs it goes on from."""
    ordered: dict[Cell, None] = {}
    for cell in cells:
        line = [cell]
        while parent := TRAININGS[line[-1].training].parent:
            line.append(cell_of(parent, cell.mix, cell.seed))
        ordered.update(dict.fromkeys(reversed(line)))
    return list(ordered)


def run_missing(
    folder: Path, cells: Iterable[Cell], result_of: Callable[[Cell], Mapping[str, Any]]
) -> None:
    """Write the `result.json` of every cell that has none.

    Args:
        folder: of the run.
        cells: in the order in which they are to be run.
        result_of: trains a cell and returns what is to be kept.
    """
    for cell in cells:
        path = folder / cell.place / "result.json"
        if path.exists():
            continue
        write_atomically(path, to_json(result_of(cell)))
        logger.info("finished %s", cell.place)


def result_of(runs: Runs, cell: Cell) -> dict[str, Any]:
    """Train a cell, or go on with it, and ask its model all test questions."""
    started, worked = time.monotonic(), time.process_time()
    run = runs.trained(cell.training, cell.mix, cell.seed)
    trained_s, trained_process_s = time.monotonic() - started, time.process_time() - worked
    training = TRAININGS[cell.training]
    checkpoint = run.load(run.version(training.last))
    found, seconds = outcomes(
        checkpoint, runs.world(cell.seed), items_reason=training.has_reasoned_items
    )
    result = {
        "config": tables(run.config),
        "theta": checkpoint.manifest.theta,
        "trained_s": round(trained_s, 1),  # since the last kill, if there was one
        "trained_process_s": round(trained_process_s, 1),
        "seconds": seconds,
        "outcomes": found,
    }
    if cell.training == "selected":
        asked, judged = runs.judged_questions(cell.mix, cell.seed)
        result["gains"] = gains(checkpoint, runs.world(cell.seed), asked, judged.folder)
    return result
