"""The stages that train: the joint model, its embedding head, its gate; each leaves a version."""

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from ponder.finetuning import heads
from ponder.finetuning.behaviour import is_learnt, objectives, offering
from ponder.finetuning.negatives import hardened
from ponder.finetuning.results import BalancedSources, FinishedTraining
from ponder.finetuning.run import Progress, Run

if TYPE_CHECKING:
    from embedder.finetune.records import TrainingExample
    from embedder.finetune.training.config import JointConfig, TrainingConfig
    from embedder.finetune.training.image_features import ImageFeatureCache
    from embedder.finetune.training.loop import Trainer
    from embedder.model.backbone import Backbone
    from embedder.model.checkpoint import Checkpoint


def train_joint(run: Run, progress: Progress) -> FinishedTraining:
    """Train the base on pairs, the rationales that were kept, and behaviour: stage `joint`.

    Over frozen encoders it trains heads instead, and the reasoner alone where an embedding head is
    to follow.
    """
    from embedder.finetune.training.joint import joint_trainer

    if run.config.heads is not None:
        return heads.train_heads(run, progress)

    base, config, joint = run.load(run.base), run.config, _joint_config(run)
    if config.embedding_head is not None:
        joint = config.embedding_head.of_reasoner(joint)
    manifest = offering(run, base.manifest) if is_learnt(run) else base.manifest
    base = base.read_as(replace(manifest, readout=config.readout or manifest.readout))
    examples = _examples(run, "negatives")
    trainer = joint_trainer(
        base,
        examples,
        joint,
        item_objectives=objectives(run, base.manifest),
        augment=config.augmentation,
        image_features=_image_features(run, base, joint, is_varied=config.augmentation is not None),
        processes=run.processes,
    )
    _train(run, "joint", trainer, base, progress)
    return _finished(run, trainer, examples)


def train_embedding_head(run: Run, progress: Progress) -> FinishedTraining:
    """Train a head over the reasoner that stage `joint` has left: stage `embedding_head`.

    Nothing is left where the recipe has none.
    """
    from embedder.finetune.training.embedding_head import head_trainer, with_embedding_head

    config = run.config.embedding_head
    if config is None:
        return FinishedTraining(steps=0)
    start = with_embedding_head(run.load(run.version("joint")), config.architecture)
    part, varied = config.of_head(_joint_config(run)), run.config.augmentation
    examples = _examples(run, "negatives")
    trainer = head_trainer(
        start,
        examples,
        part,
        augment=varied,
        image_features=_image_features(run, start, part, is_varied=varied is not None),
        processes=run.processes,
    )
    _train(run, "embedding_head", trainer, start, progress)
    return _finished(run, trainer, examples)


def train_gate(run: Run, progress: Progress) -> FinishedTraining:
    """Train the joint model's choice to reason: stage `gate`; nothing is left without a recipe."""
    from embedder.finetune.gate.objective import gate_trainer

    config = run.config.gate
    if config is None:
        return FinishedTraining(steps=0)
    joint = run.load(run.version("joint"))
    trainer = gate_trainer(
        joint,
        _examples(run, "fresh_negatives"),
        config,
        image_features=_image_features(run, joint, config, is_varied=False),
    )
    _train(run, "gate", trainer, joint, progress)
    return FinishedTraining(steps=trainer.num_steps)


def num_steps(run: Run, stage: str) -> int | None:
    """Return the steps of a stage that trains, whose pairs are there; None of any other stage."""
    config, head = run.config, run.config.embedding_head
    if stage == "joint" and config.heads is not None:
        return heads.num_steps(run)
    if stage == "joint":
        return (config.joint if head is None else head.of_reasoner(config.joint)).num_steps
    if stage == "embedding_head" and head is not None:
        return head.of_head(config.joint).num_steps
    return config.gate.num_steps if stage == "gate" and config.gate else None


def trained(run: Run) -> str:
    """Return the last stage that leaves a version."""
    if run.config.embedding_head is not None:
        return "embedding_head"
    return "joint" if run.config.gate is None else "gate"


def _examples(run: Run, stage: str) -> "list[TrainingExample]":
    """Return the pairs with the rationales that selection kept.

    With the hard negatives that a stage mined, where the recipe trains with them.
    """
    from embedder.finetune.rationales.selection import training_examples

    selected = pl.read_parquet(run.folder / "selection" / "selected.parquet")
    pairs = hardened(run, stage) if run.config.negatives.trains else run.pairs
    return training_examples(pairs, selected)


def _finished(
    run: Run, trainer: "Trainer[Backbone]", examples: "list[TrainingExample]"
) -> FinishedTraining:
    return FinishedTraining(
        steps=trainer.num_steps,
        processes=1 if run.processes is None else run.processes.size,
        examples=len(examples),
        reasoned=sum(bool(one.query_rationales or one.target_rationales) for one in examples),
    )


def _joint_config(run: Run) -> "JointConfig":
    """Return how the recipe trains, with the weights of sources that `balance` has measured."""
    weights = run.result("balance", BalancedSources).weights
    return replace(run.config.joint, source_weights=weights) if weights else run.config.joint


def _image_features(
    run: Run, checkpoint: "Checkpoint", config: "TrainingConfig", *, is_varied: bool
) -> "ImageFeatureCache | None":
    """Return an empty cache, where it is allowed and features stay as they are."""
    from embedder.finetune.training.image_features import ImageFeatureCache

    if not run.config.keep_image_features or config.trains_vision_encoder or is_varied:
        return None
    return ImageFeatureCache(checkpoint.backbone, checkpoint.inputs)


def _train(
    run: Run, stage: str, trainer: "Trainer[Backbone]", start: "Checkpoint", progress: Progress
) -> None:
    """Train to the end, or from where it was killed, and write version and curves."""
    from embedder.finetune.training.version_folder import write_version
    from ponder.reports.training.curves import write_training_curves

    folder = run.folder / stage
    backbone = trainer.train(folder, save_every=trainer.save_every, stage=stage, progress=progress)
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
