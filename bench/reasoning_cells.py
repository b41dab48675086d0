"""Cells of the reasoning benchmark: one training of one worker mix and seed, done once.

A cell is a folder with the training's state and log and, when it is finished, `result.json`. A
killed run goes on after the last saved step; a finished cell is not touched again.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bench.reasoning_base import schooled
from bench.reasoning_gains import gains
from bench.reasoning_outcomes import outcomes
from bench.reasoning_rationales import examples_of, judgements, written
from bench.reasoning_variants import TRAININGS
from bench.reasoning_world import WorldSize, world
from catalog.atomic_file import write_atomically
from embedder.finetune.gate.config import GateConfig
from embedder.finetune.gate.objective import gate_trainer
from embedder.finetune.rationales.judges.self_judge import SelfJudge, SelfJudgeConfig
from embedder.finetune.records import TrainingExample
from embedder.finetune.training.config import JointConfig
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.finetune.training.joint import joint_trainer
from embedder.model.checkpoint import Checkpoint, load

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


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What all cells of a run folder have in common."""

    school_steps: int = 1_000
    """Of what is done to nano before; every training starts from the result."""

    steps: int = 400
    """Of every stage-1 training."""

    gate_steps: int = 100
    """Of every training of a gate."""

    size: WorldSize = field(default_factory=WorldSize)
    """Of the world."""


def cell_of(training: str, mix: str, seed: int) -> Cell:
    """The cell that a training stands in; one place for all mixes if they make no difference."""
    return Cell(training, mix if TRAININGS[training].depends_on_mix else ANY_MIX, seed)


def with_parents(cells: Iterable[Cell]) -> list[Cell]:
    """The cells, each once and behind the one whose gate it trains."""
    ordered: dict[Cell, None] = {}
    for cell in cells:
        parent = TRAININGS[cell.training].parent
        if parent:
            ordered.setdefault(cell_of(parent, cell.mix, cell.seed))
        ordered.setdefault(cell)
    return list(ordered)


def run_missing(
    folder: Path, cells: Iterable[Cell], result_of: Callable[[Cell, Path], Mapping[str, Any]]
) -> None:
    """Writes the `result.json` of every cell that has none.

    Args:
        folder: of the run.
        cells: in the order in which they are to be run.
        result_of: trains a cell in its folder and returns what is to be kept.
    """
    for cell in cells:
        path = folder / cell.place / "result.json"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(result_of(cell, path.parent)))
        logger.info("finished %s", cell.place)


class Runs:
    """Trains cells; worlds, judge and image features are made once for all of them."""

    def __init__(self, folder: Path, settings: RunSettings, *, device: str) -> None:
        """Loads nothing yet.

        Args:
            folder: of the run.
            settings: of all its cells.
            device: a torch device.
        """
        self._folder, self._settings, self._device = folder, settings, device
        self._world = cache(lambda seed: world(seed, settings.size))

    def result(self, cell: Cell, folder: Path) -> dict[str, Any]:
        """Trains the cell, or goes on with it, and asks its model all test questions."""
        started = time.monotonic()
        checkpoint = self._trained(cell, folder)
        trained_s = time.monotonic() - started
        found, seconds = outcomes(checkpoint, self._world(cell.seed))
        is_gate = bool(TRAININGS[cell.training].parent)
        config = self._gate_config(cell) if is_gate else self._joint_config(cell)
        result = {
            "config": asdict(config),
            "theta": checkpoint.manifest.theta,
            "trained_s": round(trained_s, 1),  # since the last kill, if there was one
            "seconds": seconds,
            "outcomes": found,
        }
        if cell.training == "selected":
            result["gains"] = self._gains(checkpoint, cell)
        return result

    def _gains(self, checkpoint: Checkpoint, cell: Cell) -> list[dict[str, Any]]:
        return gains(
            checkpoint,
            self._judge,
            self._world(cell.seed),
            self._judged(cell, "test"),
            mix=cell.mix,
            seed=cell.seed,
        )

    def _trained(self, cell: Cell, folder: Path) -> Checkpoint:
        training = TRAININGS[cell.training]
        if training.parent:
            parent = cell_of(training.parent, cell.mix, cell.seed)
            checkpoint = self._trained(parent, self._folder / parent.place)
            trainer = gate_trainer(
                checkpoint,
                self._examples(cell),
                self._gate_config(cell),
                image_features=self._images,
            )
            backbone = trainer.train(folder, save_every=10, stage="gate")
        else:
            checkpoint = self._schooled()
            trainer = joint_trainer(
                checkpoint,
                self._examples(cell),
                self._joint_config(cell),
                image_features=self._images,
            )
            backbone = trainer.train(folder, save_every=50, stage="joint")
        return replace(checkpoint, backbone=backbone)

    def _joint_config(self, cell: Cell) -> JointConfig:
        training = TRAININGS[cell.training]
        return training.joint_config(num_steps=self._settings.steps, seed=cell.seed)

    def _gate_config(self, cell: Cell) -> GateConfig:
        training = TRAININGS[cell.training]
        return training.gate_config(num_steps=self._settings.gate_steps, seed=cell.seed)

    def _examples(self, cell: Cell) -> list[TrainingExample]:
        training, asked = TRAININGS[cell.training], self._world(cell.seed).asked
        if not training.depends_on_mix:
            return [TrainingExample(one.pair) for one in asked]
        rows = written(asked, cell.mix, seed=cell.seed)
        folder = self._judged(cell, "train")
        judged = judgements(asked, rows, self._judge, folder, seed=cell.seed)
        return examples_of(training.taught, asked, rows, judged, seed=cell.seed)

    def _judged(self, cell: Cell, what: str) -> Path:
        """Where judgements are kept: one place for all trainings of a mix and seed."""
        return self._folder / cell.mix / f"seed{cell.seed}" / f"judged_{what}"

    def _schooled(self) -> Checkpoint:
        """The base, fresh: a training changes the one that it is given."""
        version = schooled(
            self._folder / "base", num_steps=self._settings.school_steps, device=self._device
        )
        return load(str(version), device=self._device)

    @cached_property
    def _base(self) -> Checkpoint:
        return self._schooled()

    @cached_property
    def _judge(self) -> SelfJudge:
        return SelfJudge(self._base, SelfJudgeConfig())

    @cached_property
    def _images(self) -> ImageFeatureCache:
        return ImageFeatureCache(self._base.backbone, self._base.inputs)
