"""Runs a contrastive training to its end, in as many pieces as it is killed into."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from embedder.backbone import Backbone
from embedder.finetune.contrastive import ContrastiveTrainer
from embedder.finetune.state import load_state, save_state

logger = logging.getLogger(__name__)


def train(
    trainer: ContrastiveTrainer,
    folder: Path,
    *,
    save_every: int,
    evaluate: Callable[[Backbone], dict[str, float]] = lambda backbone: {},
) -> Backbone:
    """The model with the averaged weights after all steps, ready to encode.

    `folder` gets `state.safetensors` and `log.jsonl`: a line for every `save_every` steps with the
    mean losses since the line before (nats), what `evaluate` says of the averaged model, the steps
    that were made and the seconds they took. Called again with the same trainer and folder, it goes
    on after the last saved step and ends with the same weights.

    Args:
        trainer: fresh; its own configuration says how many steps.
        folder: created when missing.
        save_every: steps between two saves; a kill costs at most so many.
        evaluate: metrics of a model, for the log alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state, log = folder / "state.safetensors", folder / "log.jsonl"
    parts = (trainer.backbone, trainer.average, trainer.optimizer)
    num_done = load_state(state, *parts) if state.exists() else 0
    rows = _rows_until(log, num_done)
    sums: dict[str, float] = {}
    started = time.monotonic()
    for step in range(num_done, trainer.config.num_steps):
        for name, loss in trainer.step(step).items():
            sums[name] = sums.get(name, 0.0) + loss
        if (step + 1) % save_every and step + 1 < trainer.config.num_steps:
            continue
        num_summed = step % save_every + 1
        row = {f"finetune/{name}": round(total / num_summed, 4) for name, total in sums.items()}
        row |= {"num_done": step + 1, "elapsed_s": round(time.monotonic() - started, 1)}
        row |= evaluate(trainer.averaged())
        rows.append(row)
        # The log first: a line without its state is dropped when the training goes on.
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        save_state(state, *parts, num_done=step + 1)
        logger.info("%s", row)
        sums, started = {}, time.monotonic()
    return trainer.averaged()


def _rows_until(log: Path, num_done: int) -> list[dict[str, float]]:
    """Lines of the log that belong to steps whose state was saved."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [row for row in map(json.loads, lines) if row["num_done"] <= num_done]
