"""The stages that train: the joint model, then its gate; each leaves a version folder."""

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from ponder.finetuning.behaviour import is_learnt, objectives, offering
from ponder.finetuning.negatives import hardened
from ponder.finetuning.run import Counts, Progress, Run

if TYPE_CHECKING:
    from embedder.finetune.records import TrainingExample
    from embedder.finetune.training.loop import Trainer
    from embedder.model.checkpoint import Checkpoint

MAX_STEPS_LOST = 100
"""A kill costs at most so many steps."""


def train_joint(run: Run, progress: Progress) -> Counts:
    """Stage `joint`: the base learns from pairs, the rationales that were kept, and behaviour."""
    from embedder.finetune.training.joint import joint_trainer

    base = run.load(run.base)
    if is_learnt(run):
        base = replace(base, manifest=offering(base.manifest))
    learnt = _examples(run, "negatives")
    trainer = joint_trainer(
        base,
        learnt,
        run.config.joint(),
        item_objectives=objectives(run, base.manifest),
        processes=run.processes,
    )
    _train(run, "joint", trainer, base, progress)
    return {
        "steps": trainer.num_steps,
        "processes": 1 if run.processes is None else run.processes.size,
        "examples": len(learnt),
        "reasoned": sum(bool(one.query_rationales or one.target_rationales) for one in learnt),
    }


def train_gate(run: Run, progress: Progress) -> Counts:
    """Stage `gate`: the joint model learns when to reason; without steps nothing is left."""
    from embedder.finetune.gate.objective import gate_trainer

    if not run.config.gate_steps:
        return {"steps": 0}
    joint = run.load(run.version("joint"))
    trainer = gate_trainer(joint, _examples(run, "fresh_negatives"), run.config.gate())
    _train(run, "gate", trainer, joint, progress)
    return {"steps": trainer.num_steps}


def _examples(run: Run, stage: str) -> "list[TrainingExample]":
    """The pairs with the rationales that selection kept and the negatives that a stage mined."""
    from embedder.finetune.rationales.selection import training_examples

    selected = pl.read_parquet(run.folder / "selection" / "selected.parquet")
    return training_examples(hardened(run, stage), selected)


def trained(run: Run) -> str:
    """The last stage that left a version."""
    return "gate" if run.config.gate_steps else "joint"


def _train(
    run: Run, stage: str, trainer: "Trainer", start: "Checkpoint", progress: Progress
) -> None:
    from embedder.finetune.training.version_folder import write_version

    save_every = min(MAX_STEPS_LOST, max(1, trainer.num_steps // 10))
    backbone = trainer.train(
        run.folder / stage,
        save_every=save_every,
        stage=stage,
        progress=progress,
    )
    if run.is_first:
        manifest = replace(start.manifest, name=run.config.name)
        write_version(backbone, start, run.version(stage), manifest=manifest)
