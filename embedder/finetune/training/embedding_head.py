"""Train an embedding head over a reasoner that is frozen: the second half of TTE_u.

Think-Then-Embed (arXiv 2510.05014) trains a reasoner by next tokens first, then the head by
contrast of what was reasoned. Here the head learns the contrasts of joint training, in and across
both modes, so that the two ways of training differ in nothing else; that is our choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from embedder.finetune.records import TrainingExample
from embedder.finetune.training.adapters import averaged
from embedder.finetune.training.config import JointConfig
from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.finetune.training.joint import Augment, JointObjective
from embedder.finetune.training.loop import Trainer
from embedder.finetune.training.optimizer import AveragedAdamW
from embedder.head_config import CONFIG_KEY, EmbeddingHeadConfig
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint
from embedder.model.embedding_head import EmbeddingHead, new_embedding_head


def with_embedding_head(checkpoint: Checkpoint, config: EmbeddingHeadConfig) -> Checkpoint:
    """Return the checkpoint with an embedding head, whose model is the same.

    It has the head that it had, where that is built alike, and else one that has learnt nothing.

    Args:
        checkpoint: which reasons.
        config: how the head is built.

    Raises:
        ValueError: the model has too few layers for it.
    """
    own = checkpoint.backbone
    if own.head is not None and own.head.config == config:
        return checkpoint
    head = new_embedding_head(config, own.model)
    setattr(own.model.config, CONFIG_KEY, config.as_json())
    readout = checkpoint.manifest.readout
    backbone = Backbone(own.model, readout=readout, audio=own.audio, head=head)
    return replace(checkpoint, backbone=backbone)


class TrainedHead:
    """An embedding head that is being trained, and nothing else; a `loop.Trainable`."""

    def __init__(self, backbone: Backbone, head: EmbeddingHead) -> None:
        """Mark the head's weights, in place; they are kept in float32.

        Args:
            backbone: the reasoner, whose weights stay as they are.
            head: its own.
        """
        self._backbone, self._head = backbone.requires_grad_(False), head
        head.float().requires_grad_(True)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield the head's weights."""
        return self._head.parameters()

    def averaged(self, optimizer: AveragedAdamW) -> Backbone:
        """Return a copy of the model with the head's averaged weights, ready to encode."""
        return averaged(self._backbone, optimizer)


def head_trainer(
    checkpoint: Checkpoint,
    examples: Sequence[TrainingExample],
    config: JointConfig,
    *,
    augment: Augment | None = None,
    image_features: ImageFeatureCache | None = None,
    processes: Processes | None = None,
) -> Trainer[Backbone]:
    """Return the training of a checkpoint's embedding head, whose weights it changes in place.

    Args:
        checkpoint: with a head; the rest of it is left as it is.
        examples: what to learn, of any number of sources.
        config: how (`HeadTrainingConfig.of_head`).
        augment: varies each content of an example before it is read. None: none is varied.
        image_features: features by the checkpoint's vision encoder.
        processes: the processes that train together; None: this one alone.

    Raises:
        ValueError: the checkpoint has no head, or its reasoner is to be trained as well; or as of
            `embedder.finetune.training.joint.joint_trainer`.
    """
    head = checkpoint.backbone.head
    if head is None:
        raise ValueError("the checkpoint must have an embedding head; give it one before")
    if config.loss != config.loss.contrast_alone:
        raise ValueError(
            "a head over a frozen reasoner learns by contrast alone, got weights for next_token "
            f"{config.loss.next_token} and gate {config.loss.gate}; set them to 0"
        )
    objective = JointObjective(
        checkpoint,
        examples,
        config,
        augment=augment,
        image_features=image_features,
        processes=processes,
    )
    return Trainer(TrainedHead(checkpoint.backbone, head), config, objective, processes=processes)
