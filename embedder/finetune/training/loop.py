"""Runs a training to its end, in as many pieces as it is killed into."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from catalog.atomic_file import write_atomically
from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.optimizer import AveragedAdamW
from embedder.finetune.training.state import load_state, save_state
from embedder.model.backbone import Backbone

logger = logging.getLogger(__name__)


class Trainer(Protocol):
    """A training whose steps depend on the state and their number alone."""

    @property
    def num_steps(self) -> int:
        """Steps of the whole training."""
        ...

    @property
    def optimizer(self) -> AveragedAdamW:
        """Holds the state."""
        ...

    def step(self, step: int) -> dict[str, float]:
        """Learns one batch and returns what there is to log, by name."""
        ...

    def averaged(self) -> Backbone:
        """A copy of the model with the averaged weights, ready to encode."""
        ...


def train(
    trainer: Trainer,
    folder: Path,
    *,
    save_every: int,
    evaluate: Callable[[Backbone], dict[str, float]] = lambda backbone: {},
    stage: str = "finetune",
    processes: Processes | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Backbone:
    """The model with the averaged weights after all steps, ready to encode.

    `folder` gets `state.safetensors` and `log.jsonl`: a line for every `save_every` steps with the
    means since the line before of what the steps returned (losses in nats), what `evaluate` says of
    the averaged model, the steps that were made and the seconds they took. Called again with the
    same trainer and folder, it goes on after the last saved step and ends with the same weights.

    Args:
        trainer: fresh; it says how many steps.
        folder: created when missing.
        save_every: steps between two saves; a kill costs at most so many.
        evaluate: metrics of a model, for the log alone.
        stage: what the names of the logged means begin with.
        processes: the processes that train together; only the first writes. None: this one alone.
        progress: told how many more steps are done, those of earlier calls first.
    """
    is_first = processes is None or processes.is_first
    folder.mkdir(parents=True, exist_ok=True)
    state, log = folder / "state.safetensors", folder / "log.jsonl"
    num_done = load_state(state, trainer.optimizer) if state.exists() else 0
    progress(num_done)
    rows = _rows_until(log, num_done)
    sums: dict[str, float] = {}
    started = time.monotonic()
    for step in range(num_done, trainer.num_steps):
        for name, value in trainer.step(step).items():
            sums[name] = sums.get(name, 0.0) + value
        progress(1)
        if (step + 1) % save_every and step + 1 < trainer.num_steps:
            continue
        num_summed = step % save_every + 1
        row = {f"{stage}/{name}": round(total / num_summed, 4) for name, total in sums.items()}
        row |= {"num_done": step + 1, "elapsed_s": round(time.monotonic() - started, 1)}
        if is_first:
            row |= evaluate(trainer.averaged())
            rows.append(row)
            # The log first: a line without its state is dropped when the training goes on.
            write_atomically(log, "".join(json.dumps(row) + "\n" for row in rows))
            save_state(state, trainer.optimizer, num_done=step + 1)
            logger.info("%s", row)
        sums, started = {}, time.monotonic()
    return trainer.averaged()


def _rows_until(log: Path, num_done: int) -> list[dict[str, float]]:
    """Lines of the log that belong to steps whose state was saved."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [row for row in map(json.loads, lines) if row["num_done"] <= num_done]
