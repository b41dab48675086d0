"""The stages that train: the joint model, its silent mode, its gate; each leaves a version."""

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from ponder.finetuning.behaviour import is_learnt, objectives, offering
from ponder.finetuning.negatives import hardened
from ponder.finetuning.results import FinishedTraining
from ponder.finetuning.run import Progress, Run

if TYPE_CHECKING:
    from embedder.finetune.records import TrainingExample
    from embedder.finetune.training.config import JointConfig, TrainingConfig
    from embedder.finetune.training.image_features import ImageFeatureCache
    from embedder.finetune.training.loop import Trainer
    from embedder.model.checkpoint import Checkpoint

MAX_STEPS_LOST = 100
"""A kill costs at most so many steps."""


def train_joint(run: Run, progress: Progress) -> FinishedTraining:
    """Train the base on pairs, the rationales that were kept, and behaviour: stage `joint`.

    A silent mode of the base goes where its training is no part of the joint one: it would rot.
    """
    base, config = run.load(run.base), run.config
    manifest = base.manifest
    if is_learnt(run):
        manifest = offering(run, manifest)
    manifest = replace(
        manifest,
        readout=config.readout or manifest.readout,
        silent=manifest.silent if config.joint.loss.needs_silent else None,
    )
    return _train_examples(run, "joint", base.read_as(manifest), config.joint, progress)


def train_silent(run: Run, progress: Progress) -> FinishedTraining:
    """Teach the joint model to answer silently: stage `silent`; nothing is left without a recipe.

    It goes on with all that joint training learns from, behaviour included.
    """
    from embedder.finetune.training.silent_mode import with_silent_mode

    config = run.config.silent
    if config is None:
        return FinishedTraining(steps=0)
    joint = run.load(run.version("joint"))
    start = with_silent_mode(joint, config.mode, seed=config.seed)
    return _train_examples(run, "silent", start, config, progress)


def _train_examples(
    run: Run, stage: str, start: "Checkpoint", config: "JointConfig", progress: Progress
) -> FinishedTraining:
    """Train on all examples and items of the run, and leave a version."""
    from embedder.finetune.training.joint import joint_trainer

    examples = _examples(run, "negatives")
    trainer = joint_trainer(
        start,
        examples,
        config,
        item_objectives=objectives(run, start.manifest),
        augment=run.config.augmentation,
        image_features=_image_features(run, start, config),
        processes=run.processes,
    )
    _train(run, stage, trainer, start, progress)
    return FinishedTraining(
        steps=trainer.num_steps,
        processes=1 if run.processes is None else run.processes.size,
        examples=len(examples),
        reasoned=sum(bool(one.query_rationales or one.target_rationales) for one in examples),
    )


def train_gate(run: Run, progress: Progress) -> FinishedTraining:
    """Train the model's choice to reason: stage `gate`; nothing is left without a recipe."""
    from embedder.finetune.gate.objective import gate_trainer

    config = run.config.gate
    if config is None:
        return FinishedTraining(steps=0)
    start = run.load(run.version("silent" if run.config.silent else "joint"))
    trainer = gate_trainer(
        start,
        _examples(run, "fresh_negatives"),
        config,
        image_features=_image_features(run, start, config),
    )
    _train(run, "gate", trainer, start, progress)
    return FinishedTraining(steps=trainer.num_steps)


def trained(run: Run) -> str:
    """Return the last stage that leaves a version."""
    if run.config.gate is not None:
        return "gate"
    return "joint" if run.config.silent is None else "silent"


def _examples(run: Run, stage: str) -> "list[TrainingExample]":
    """Return the pairs with the rationales that selection kept.

    With the hard negatives that a stage mined, where the recipe trains with them.
    """
    from embedder.finetune.rationales.selection import training_examples

    selected = pl.read_parquet(run.folder / "selection" / "selected.parquet")
    pairs = hardened(run, stage) if run.config.negatives.trains else run.pairs
    return training_examples(pairs, selected)


def _image_features(
    run: Run, checkpoint: "Checkpoint", config: "TrainingConfig"
) -> "ImageFeatureCache | None":
    """Return an empty cache, where it is allowed and features stay as they are."""
    from embedder.finetune.training.image_features import ImageFeatureCache

    is_varied = config is not run.config.gate and run.config.augmentation is not None
    if not run.config.keep_image_features or config.trains_vision_encoder or is_varied:
        return None
    return ImageFeatureCache(checkpoint.backbone, checkpoint.inputs)


def _train(
    run: Run, stage: str, trainer: "Trainer", start: "Checkpoint", progress: Progress
) -> None:
    """Train to the end, or from where it was killed, and write version and curves."""
    from embedder.finetune.training.version_folder import write_version
    from ponder.reports.training.curves import write_training_curves

    save_every = min(MAX_STEPS_LOST, max(1, trainer.num_steps // 10))
    folder = run.folder / stage
    backbone = trainer.train(folder, save_every=save_every, stage=stage, progress=progress)
    if run.is_first:
        manifest = replace(start.manifest, name=run.config.name)
        write_version(
            backbone,
            start,
            run.version(stage),
            manifest=manifest,
            is_half=run.config.half_precision,
        )
        write_training_curves(folder / "log.jsonl", folder / "curves.svg")
