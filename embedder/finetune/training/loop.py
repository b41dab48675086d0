"""One training loop for every objective: a step, its optimiser, and a state to go on from.

What is minimised is an `Objective`: joint training, the gate's, nano's own and that of the heads
over frozen encoders are four. What is trained is a `Trainable`. All else is here and in
`TrainingConfig`: AdamW, the schedule of its rate, the moving average, gradients summed over
processes, the log, and the state that a killed training goes on from. (Not `accelerate`: it
averages the gradients of processes that each have a batch of their own; here they share one,
exchange its vectors, and their gradients are summed.)
"""

import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from catalog.atomic_file import write_atomically
from embedder.finetune.training.config import TrainingConfig
from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.optimizer import AveragedAdamW, cosine_rate
from embedder.finetune.training.state import load_state, save_state

MAX_STEPS_LOST = 100
"""A kill costs at most so many steps of a training that saves as it is advised to."""

logger = logging.getLogger(__name__)


class Objective(Protocol):
    """What a training minimises; all of it depends on the weights and the step's number alone."""

    @property
    def num_updates(self) -> int:
        """Updates of the weights in every step."""
        ...

    def backward(self, step: int, update: int) -> dict[str, float]:
        """Add the gradients of an update to the parameters', and return what there is to log.

        Args:
            step: from 0.
            update: of the step, from 0.
        """
        ...


M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class Trainable(Protocol[M_co]):
    """A model that is being trained, and what comes of it."""

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """Return its weights; those that are trained require a gradient."""
        ...

    def averaged(self, optimizer: AveragedAdamW) -> M_co:
        """Return a copy of the model with the optimiser's averaged weights, ready to encode."""
        ...


class Trainer(Generic[M]):
    """A model that learns an objective.

    A step depends on the state and its number alone, so a training that goes on from a saved state
    ends with the weights of one that was never interrupted.
    """

    def __init__(
        self,
        model: Trainable[M],
        config: TrainingConfig,
        objective: Objective,
        *,
        processes: Processes | None = None,
    ) -> None:
        """Take the model's weights over: they are changed in place.

        Args:
            model: what is trained.
            config: how to train.
            objective: what to minimise, on this model.
            processes: those that share the objective's batches, whose gradients are summed and of
                which the first writes; None: this one alone.
        """
        self.model, self.config, self.objective = model, config, objective
        self._processes = processes or Processes()
        self.optimizer = AveragedAdamW(
            model.parameters(),
            weight_decay=config.weight_decay,
            average_decay=config.average_decay,
            max_gradient_norm=config.max_gradient_norm,
        )

    @property
    def num_steps(self) -> int:
        """Steps of the whole training."""
        return self.config.num_steps

    @property
    def save_every(self) -> int:
        """Steps between two saves that cost little and lose little: a tenth of all, 100 at most."""
        return min(MAX_STEPS_LOST, max(1, self.num_steps // 10))

    def step(self, step: int) -> dict[str, float]:
        """Learn one batch and return what there is to log, by name."""
        logged: dict[str, float] = {}
        for update in range(self.objective.num_updates):
            logged |= self.objective.backward(step, update)
            self._processes.sum_gradients(self.optimizer.parameters)
            self.optimizer.step(self.rate_at(step))
        return logged

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        return cosine_rate(
            step,
            peak=self.config.learning_rate,
            warmup_steps=self.config.warmup_steps,
            num_steps=self.config.num_steps,
            floor=self.config.final_rate,
        )

    def averaged(self) -> M:
        """Return a copy of the model with the averaged weights, ready to encode."""
        return self.model.averaged(self.optimizer)

    def train(
        self,
        folder: Path,
        *,
        save_every: int,
        evaluate: Callable[[M], dict[str, float]] = lambda model: {},
        stage: str = "finetune",
        progress: Callable[[int], None] = lambda done: None,
    ) -> M:
        """Make all steps and return the model with the averaged weights, ready to encode.

        `folder` gets `state.safetensors` and `log.jsonl`: a line for every `save_every` steps with
        the means since the line before of what the steps returned (losses in nats), what `evaluate`
        says of the averaged model, the steps that were made and the seconds they took. Called again
        on a fresh trainer with the same folder, it goes on after the last saved step and ends with
        the same weights.

        Args:
            folder: created when missing.
            save_every: steps between two saves; a kill costs at most so many.
            evaluate: metrics of a model, for the log alone.
            stage: what the names of the logged means begin with.
            progress: told how many more steps are done, those of earlier calls first.
        """
        folder.mkdir(parents=True, exist_ok=True)
        state, log = folder / "state.safetensors", folder / "log.jsonl"
        num_done = load_state(state, self.optimizer) if state.exists() else 0
        progress(num_done)
        rows = _rows_until(log, num_done)
        sums: dict[str, float] = {}
        started = time.monotonic()
        for step in range(num_done, self.num_steps):
            for name, value in self.step(step).items():
                sums[name] = sums.get(name, 0.0) + value
            progress(1)
            if (step + 1) % save_every and step + 1 < self.num_steps:
                continue
            if self._processes.is_first:
                row = _means(sums, num_steps=step % save_every + 1, stage=stage)
                row |= {"num_done": step + 1, "elapsed_s": round(time.monotonic() - started, 1)}
                rows.append(row | evaluate(self.averaged()))
                # The log first: a line without its state is dropped when the training goes on.
                write_atomically(log, "".join(json.dumps(row) + "\n" for row in rows))
                save_state(state, self.optimizer, num_done=step + 1)
                logger.info("%s", rows[-1])
            sums, started = {}, time.monotonic()
        return self.averaged()


def _means(sums: dict[str, float], *, num_steps: int, stage: str) -> dict[str, Any]:
    return {f"{stage}/{name}": round(total / num_steps, 4) for name, total in sums.items()}


def _rows_until(log: Path, num_done: int) -> list[dict[str, Any]]:
    """Read the lines of the log that belong to steps whose state was saved."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [row for row in map(json.loads, lines) if row["num_done"] <= num_done]
