"""Objective of stage 1: embed directly, reason, and embed what was reasoned.

It learns from examples: pairs with the rationales that selection kept. For pairs without any,
nothing is left but contrast of direct embeddings and a gate that is taught to answer directly,
which is plain contrastive fine-tuning. See `embedder.finetune.training.joint_loss` for the losses
and for what is the paper's of them.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from embedder.content import Content
from embedder.finetune.data.modality_dropout import with_dropout
from embedder.finetune.data.pairs import Pair
from embedder.finetune.data.sampler import BatchSampler
from embedder.finetune.records import TrainingExample, WeightedRationale
from embedder.finetune.training.adapters import TrainedBackbone, require_no_head
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.config import JointConfig
from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.image_features import ImageFeatureCache, require_frozen_encoder
from embedder.finetune.training.item_objectives import ItemObjective, backward
from embedder.finetune.training.joint_loss import JointLoss, SampledExample, drawn
from embedder.finetune.training.loop import Trainer
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint

Augment = Callable[[Content, random.Random], Content]
"""Varies a content by what it draws."""


class JointObjective:
    """The joint loss on a batch of examples a step, and further objectives on items of their own.

    A `loop.Objective`.
    """

    num_updates = 1

    def __init__(
        self,
        checkpoint: Checkpoint,
        examples: Sequence[TrainingExample],
        config: JointConfig,
        *,
        item_objectives: Sequence[ItemObjective] = (),
        augment: Augment | None = None,
        image_features: ImageFeatureCache | None = None,
        processes: Processes | None = None,
    ) -> None:
        """Sort the examples by source; arguments and errors as of `joint_trainer`."""
        require_frozen_encoder(image_features, is_trained=config.trains_vision_encoder)
        self._config, self._augment = config, augment
        self._batches = BatchSampler(
            examples,
            batch_size=config.batch_size,
            seed=config.seed,
            source_weights=config.source_weights,
        )
        self._model = CachedForward(
            checkpoint.backbone, checkpoint.inputs, image_features=image_features
        )
        self._manifest, self._item_objectives = checkpoint.manifest, item_objectives
        self._processes = processes or Processes()
        model = self._model
        if augment is not None:  # an augmented content hardly comes a second time
            model = CachedForward(
                checkpoint.backbone,
                checkpoint.inputs,
                image_features=image_features,
                num_kept_samples=0,
            )
        self._loss = JointLoss(model, self._manifest, config.loss, processes=self._processes)

    def batch_at(self, step: int) -> list[SampledExample]:
        """Return the examples of a step, all of one source, and the rationales that it reads."""
        examples = self._batches.at(step)
        # The text is part of the seed: with another one, other rationales are drawn.
        rng = random.Random(f"{self._config.seed}/paths/{step}")
        if self._config.rationale_choice == "best":
            batch = [_with_the_heaviest(one) for one in examples]
        else:
            batch = [drawn(one, rng) for one in examples]
        if dropout := self._config.modality_dropout:
            rng = random.Random(f"{self._config.seed}/modalities/{step}")
            batch = [replace(one, pair=_dropped(one.pair, dropout, rng)) for one in batch]
        if self._augment is None:
            return batch
        rng = random.Random(f"{self._config.seed}/step/{step}")
        return [replace(one, pair=_augmented(one.pair, self._augment, rng)) for one in batch]

    def backward(self, step: int, update: int) -> dict[str, float]:
        """Add the gradients of a step to the parameters', and return its weighted losses."""
        swapped = self._config.swap_roles and step % 2 == 1
        losses = self._loss.backward(self.batch_at(step), swapped=swapped)
        for objective in self._item_objectives:
            losses |= backward(
                objective,
                step,
                self._model,
                self._manifest,
                chunk_size=self._config.loss.chunk_size,
                processes=self._processes,
            )
        return losses


def joint_trainer(
    checkpoint: Checkpoint,
    examples: Sequence[TrainingExample],
    config: JointConfig,
    *,
    item_objectives: Sequence[ItemObjective] = (),
    augment: Augment | None = None,
    image_features: ImageFeatureCache | None = None,
    processes: Processes | None = None,
) -> Trainer[Backbone]:
    """Return the joint training of a checkpoint, whose weights it changes in place.

    Args:
        checkpoint: where to start from; its manifest may hold instructions of sources.
        examples: what to learn, of any number of sources.
        config: how.
        item_objectives: what else to learn in every step; their items are not augmented.
        augment: varies each content of an example before it is read. None: none is varied.
        image_features: features by the checkpoint's encoder, which is then not trained. Worth it
            where images are not augmented, for each is then computed once.
        processes: the processes that train together; None: this one alone.

    Raises:
        ValueError: a source has fewer examples than a batch holds, `source_weights` names other
            sources, or features are given for an encoder that is to be trained; the checkpoint has
            an embedding head, and more than next tokens and the gate is to be learnt.
    """
    if config.loss != config.loss.without_contrast:
        require_no_head(checkpoint.backbone)
    objective = JointObjective(
        checkpoint,
        examples,
        config,
        item_objectives=item_objectives,
        augment=augment,
        image_features=image_features,
        processes=processes,
    )
    model = TrainedBackbone(checkpoint.backbone, checkpoint.inputs, config)
    return Trainer(model, config, objective, processes=processes)


def _with_the_heaviest(example: TrainingExample) -> SampledExample:
    return SampledExample(
        example.pair, _heaviest(example.query_rationales), _heaviest(example.target_rationales)
    )


def _heaviest(rationales: Sequence[WeightedRationale]) -> WeightedRationale | None:
    return max(rationales, key=lambda rationale: rationale.weight, default=None)


def _dropped(pair: Pair, probability: float, rng: random.Random) -> Pair:
    query, target = (with_dropout(one, probability, rng) for one in (pair.query, pair.target))
    return replace(pair, query=query, target=target)


def _augmented(pair: Pair, augment: Augment, rng: random.Random) -> Pair:
    return replace(
        pair,
        query=augment(pair.query, rng),
        target=augment(pair.target, rng),
        negatives=tuple(
            replace(negative, content=augment(negative.content, rng)) for negative in pair.negatives
        ),
    )
