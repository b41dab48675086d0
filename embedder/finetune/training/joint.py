"""Stage 1: one model learns to embed directly, to reason, and to embed what it has reasoned.

It learns from lessons: pairs with the rationales that selection kept. See
`embedder.finetune.training.joint_loss` for the losses and for what is the paper's of them.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from embedder.finetune.data.sampler import Batches
from embedder.finetune.records import Lesson, Path
from embedder.finetune.training.adapters import Lora, averaged, make_trainable
from embedder.finetune.training.cached_forward import Reader
from embedder.finetune.training.distributed import Ranks
from embedder.finetune.training.image_features import PictureCache, require_fixed_tower
from embedder.finetune.training.joint_loss import (
    DrawnLesson,
    JointObjective,
    ObjectiveConfig,
    drawn,
)
from embedder.finetune.training.objectives import Objective, backward
from embedder.finetune.training.optimizer import AveragedAdamW, cosine_rate
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class JointConfig:
    """How a checkpoint is trained on lessons."""

    num_steps: int
    """Optimiser steps; the schedule of the rate ends there."""

    batch_size: int = 64
    """Lessons a step, over all processes; the others of a batch are each query's negatives."""

    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """What is minimised."""

    path_choice: Literal["drawn", "best"] = "drawn"
    """Which of a side's rationales a step reads: one drawn by weight, anew whenever the lesson
    comes up, or always the one of the largest weight, the first of equal ones."""

    learning_rate: float = 1e-3
    """Peak of AdamW's rate, reached after `warmup_steps`; a cosine then takes it to 0."""

    warmup_steps: int = 100
    """Steps over which the rate grows linearly."""

    weight_decay: float = 0.05
    """Of matrices; vectors (norms, biases) are not decayed."""

    average_decay: float = 0.99
    """The weights that are kept are a moving average with this decay a step; 0: the last ones."""

    max_gradient_norm: float = 1.0
    """Longer gradients are scaled down to this norm."""

    lora: Lora | None = None
    """Low-rank adapters instead of all weights."""

    train_pictures: bool = True
    """Whether the picture tower is trained; with `lora` it never is."""

    source_weights: Mapping[str, float] = field(default_factory=dict)
    """How often a source fills a batch, relative to the others; empty: as often as it has pairs."""

    seed: int = 0
    """Decides the order of the lessons and which rationales are drawn."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "learning_rate", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {self.average_decay}")


class JointTrainer:
    """Model, optimiser, schedule and moving average; run by `loop.train`.

    A step depends on the state and its number alone, so a training that goes on from a saved state
    ends with the weights of one that was never interrupted.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        lessons: Sequence[Lesson],
        config: JointConfig,
        *,
        objectives: Sequence[Objective] = (),
        pictures: PictureCache | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        """Takes the checkpoint's weights over: they are changed in place.

        Args:
            checkpoint: where to start from; its manifest may hold instructions of sources.
            lessons: what to learn, of any number of sources.
            config: how.
            objectives: what else to learn in every step.
            pictures: features by the checkpoint's tower, which is then not trained.
            ranks: the processes that train together; None: this one alone.

        Raises:
            ValueError: a source has fewer lessons than a batch holds, `source_weights` names other
                sources, or features are given for a tower that is to be trained.
        """
        require_fixed_tower(pictures, is_trained=config.train_pictures and config.lora is None)
        self.config, self.backbone = config, checkpoint.backbone
        self._batches = Batches(
            lessons,
            batch_size=config.batch_size,
            seed=config.seed,
            source_weights=config.source_weights,
        )
        self._adapted = make_trainable(
            self.backbone,
            checkpoint.inputs,
            lora=config.lora,
            train_pictures=config.train_pictures,
            seed=config.seed,
        )
        self._ranks = ranks or Ranks()
        self._reader = Reader(self.backbone, checkpoint.inputs, pictures=pictures)
        self._manifest, self._objectives = checkpoint.manifest, objectives
        self.objective = JointObjective(
            self._reader, self._manifest, config.objective, ranks=self._ranks
        )
        self.optimizer = AveragedAdamW(
            self.backbone.parameters(),
            weight_decay=config.weight_decay,
            average_decay=config.average_decay,
            max_gradient_norm=config.max_gradient_norm,
        )

    @property
    def num_steps(self) -> int:
        """Steps of the whole training."""
        return self.config.num_steps

    def batch_at(self, step: int) -> list[DrawnLesson]:
        """The lessons of a step, all of one source, and the rationales that it reads."""
        lessons = self._batches.at(step)
        if self.config.path_choice == "best":
            return [
                DrawnLesson(one.pair, _heaviest(one.query_paths), _heaviest(one.target_paths))
                for one in lessons
            ]
        source = random.Random(f"{self.config.seed}/paths/{step}")
        return [drawn(one, source) for one in lessons]

    def step(self, step: int) -> dict[str, float]:
        """Learns one batch, and what else there is to learn, and returns the weighted losses."""
        losses = self.objective.backward(self.batch_at(step))
        for objective in self._objectives:
            losses |= backward(
                objective,
                step,
                self._reader,
                self._manifest,
                chunk_size=self.config.objective.chunk_size,
                ranks=self._ranks,
            )
        self._ranks.sum_gradients(self.optimizer.parameters)
        rate = cosine_rate(
            step,
            peak=self.config.learning_rate,
            warmup_steps=self.config.warmup_steps,
            num_steps=self.config.num_steps,
        )
        self.optimizer.step(rate)
        return losses

    def averaged(self) -> Backbone:
        """A copy of the model with the averaged weights, adapters merged, ready to encode."""
        return averaged(self.backbone, self.optimizer, self._adapted)


def _heaviest(paths: Sequence[Path]) -> Path | None:
    return max(paths, key=lambda path: path.weight, default=None)
