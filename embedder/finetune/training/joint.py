"""Stage 1: one model learns to embed directly, to reason, and to embed what it has reasoned.

It learns from examples: pairs with the rationales that selection kept. See
`embedder.finetune.training.joint_loss` for the losses and for what is the paper's of them.
"""

import random
from collections.abc import Sequence

from embedder.finetune.data.sampler import Batches
from embedder.finetune.records import TrainingExample, WeightedRationale
from embedder.finetune.training.adapters import averaged, make_trainable
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.config import JointConfig
from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.image_features import ImageFeatureCache, require_frozen_encoder
from embedder.finetune.training.joint_loss import JointObjective, SampledExample, drawn
from embedder.finetune.training.objectives import Objective, backward
from embedder.finetune.training.optimizer import AveragedAdamW, cosine_rate
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint


class JointTrainer:
    """Model, optimiser, schedule and moving average; run by `loop.train`.

    A step depends on the state and its number alone, so a training that goes on from a saved state
    ends with the weights of one that was never interrupted.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        examples: Sequence[TrainingExample],
        config: JointConfig,
        *,
        objectives: Sequence[Objective] = (),
        images: ImageFeatureCache | None = None,
        processes: Processes | None = None,
    ) -> None:
        """Takes the checkpoint's weights over: they are changed in place.

        Args:
            checkpoint: where to start from; its manifest may hold instructions of sources.
            examples: what to learn, of any number of sources.
            config: how.
            objectives: what else to learn in every step.
            images: features by the checkpoint's encoder, which is then not trained.
            processes: the processes that train together; None: this one alone.

        Raises:
            ValueError: a source has fewer examples than a batch holds, `source_weights` names other
                sources, or features are given for an encoder that is to be trained.
        """
        require_frozen_encoder(
            images, is_trained=config.train_vision_encoder and config.lora is None
        )
        self.config, self.backbone = config, checkpoint.backbone
        self._batches = Batches(
            examples,
            batch_size=config.batch_size,
            seed=config.seed,
            source_weights=config.source_weights,
        )
        self._adapted = make_trainable(
            self.backbone,
            checkpoint.inputs,
            lora=config.lora,
            train_vision_encoder=config.train_vision_encoder,
            seed=config.seed,
        )
        self._processes = processes or Processes()
        self._model = CachedForward(self.backbone, checkpoint.inputs, images=images)
        self._manifest, self._objectives = checkpoint.manifest, objectives
        self.objective = JointObjective(
            self._model, self._manifest, config.objective, processes=self._processes
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

    def batch_at(self, step: int) -> list[SampledExample]:
        """The examples of a step, all of one source, and the rationales that it reads."""
        examples = self._batches.at(step)
        if self.config.rationale_choice == "best":
            return [
                SampledExample(
                    one.pair, _heaviest(one.query_rationales), _heaviest(one.target_rationales)
                )
                for one in examples
            ]
        rng = random.Random(f"{self.config.seed}/rationales/{step}")
        return [drawn(one, rng) for one in examples]

    def step(self, step: int) -> dict[str, float]:
        """Learns one batch, and what else there is to learn, and returns the weighted losses."""
        losses = self.objective.backward(self.batch_at(step))
        for objective in self._objectives:
            losses |= backward(
                objective,
                step,
                self._model,
                self._manifest,
                chunk_size=self.config.objective.chunk_size,
                processes=self._processes,
            )
        self._processes.sum_gradients(self.optimizer.parameters)
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


def _heaviest(rationales: Sequence[WeightedRationale]) -> WeightedRationale | None:
    return max(rationales, key=lambda rationale: rationale.weight, default=None)
