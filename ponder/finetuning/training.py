"""The stages that train: the joint model, its silent mode, its gate; each leaves a version."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from catalog.atomic_file import write_atomically
from ponder.finetuning.behaviour import is_learnt, objectives, offering
from ponder.finetuning.negatives import hardened
from ponder.finetuning.results import FinishedTraining
from ponder.finetuning.run import Progress, Run

if TYPE_CHECKING:
    from embedder.content import Side
    from embedder.finetune.gate.config import GateConfig
    from embedder.finetune.records import TrainingExample
    from embedder.finetune.training.config import JointConfig, TrainingConfig
    from embedder.finetune.training.image_features import ImageFeatureCache
    from embedder.finetune.training.loop import Trainer
    from embedder.model.checkpoint import Checkpoint

MAX_STEPS_LOST = 100
"""A kill costs at most so many steps."""

NUM_TIMED = 64
"""Contents on which the cost of a silent answer is measured."""


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
    features = _image_features(run, start, config)
    config = _priced(run, start, config)
    trainer = gate_trainer(
        start, _examples(run, "fresh_negatives"), config, image_features=features
    )
    _train(run, "gate", trainer, start, progress)
    return FinishedTraining(steps=trainer.num_steps, silent_tokens=config.rewards.silent_tokens)


def _priced(run: Run, start: "Checkpoint", config: "GateConfig") -> "GateConfig":
    """Return the configuration with what a silent answer costs, measured once where it is open.

    What was measured is kept in `costs.json`, so that a training that was killed goes on with it.
    """
    sides = [side for side in config.sides if "silent" in start.manifest.actions(side)]
    if not sides or config.rewards.silent_tokens is not None:
        return config
    path = run.folder / "gate" / "costs.json"
    if not path.exists():
        measured = {"silent_tokens": round(_silent_tokens(run, start, sides[0]), 2)}
        write_atomically(path, json.dumps(measured) + "\n")
    rewards = replace(config.rewards, **json.loads(path.read_text()))
    return replace(config, rewards=rewards)


def _silent_tokens(run: Run, start: "Checkpoint", side: "Side") -> float:
    from embedder.finetune.gate.costs import silent_tokens
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

    contents = [pair.query if side == "query" else pair.target for pair in run.pairs[:NUM_TIMED]]
    encoder = MMEmbR1(start, EmbedderConfig(device=run.settings.device))
    encode = encoder.encode_query if side == "query" else encoder.encode_items
    return silent_tokens(lambda policy: encode(contents, policy=policy))


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
