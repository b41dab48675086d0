"""Contrastive fine-tuning of direct embeddings: pairs of contents in, a better backbone out.

Left out, for the joint training to add: rationales, reasoned embeddings and their next-token loss.
The gate is only taught to answer directly, the one mode that is trained here, so that the policy
`auto` does not reason with a rationale writer that has been neglected.

Every batch is of one source, whose own instructions it is read with where the manifest has some.
Further objectives may add their losses to a step.

Shape legend:
  B = pairs in the batch, N = targets (the pairs' own, then hard negatives),
  D = embedding dimension
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.data.pairs import Pair, false_negatives, foreign_negatives
from embedder.finetune.data.sampler import Batches
from embedder.finetune.training.adapters import averaged, make_trainable
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.forward import PromptWithAnswers, direct_answer
from embedder.finetune.training.image_features import ImageFeatureCache, require_frozen_encoder
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.finetune.training.objectives import Objective, backward
from embedder.finetune.training.optimizer import AveragedAdamW, cosine_rate
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint

Augment = Callable[[Content, random.Random], Content]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastiveConfig:
    """How a checkpoint is fine-tuned."""

    num_steps: int
    """Optimiser steps; the schedule of the rate ends there."""

    batch_size: int = 64
    """Pairs a step; the others of a batch are each query's negatives."""

    learning_rate: float = 1e-3
    """Peak of AdamW's rate, reached after `warmup_steps`; a cosine then takes it to 0."""

    warmup_steps: int = 100
    """Steps over which the rate grows linearly."""

    weight_decay: float = 0.05
    """Of matrices; vectors (norms, biases) are not decayed."""

    contrastive_temperature: float = 0.05
    """Divides the cosines; dimensionless, > 0."""

    gate_weight: float = 0.1
    """Weight of the loss that teaches the gate to answer directly."""

    average_decay: float = 0.99
    """The weights that are kept are a moving average with this decay a step; 0: the last ones."""

    max_gradient_norm: float = 1.0
    """Longer gradients are scaled down to this norm."""

    swap_roles: bool = True
    """In every second step the targets are the queries, so that search works both ways."""

    train_vision_encoder: bool = True
    """Whether the vision encoder is trained."""

    source_weights: Mapping[str, float] = field(default_factory=dict)
    """How often a source fills a batch, relative to the others; empty: as often as it has pairs."""

    seed: int = 0
    """Decides the order of the pairs and what augmentation draws."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "learning_rate", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {self.average_decay}")


class ContrastiveTrainer:
    """Model, optimiser, schedule and moving average; one call of `step` per batch.

    A step depends on the state and its number alone, so a training that goes on from a saved state
    ends with the weights of one that was never interrupted.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        pairs: Sequence[Pair],
        config: ContrastiveConfig,
        *,
        augment: Augment = lambda content, rng: content,
        objectives: Sequence[Objective] = (),
        images: ImageFeatureCache | None = None,
    ) -> None:
        """Takes the checkpoint's weights over: they are changed in place.

        Args:
            checkpoint: where to start from; its manifest may hold instructions of sources.
            pairs: what to learn, of any number of sources.
            config: how.
            augment: varies each content of a pair before it is read.
            objectives: what else to learn in every step; their items are not augmented.
            images: features by the checkpoint's encoder, which is then not trained. Worth it where
                images are not augmented, for each is then computed once.

        Raises:
            ValueError: a source has fewer pairs than a batch holds, `source_weights` names other
                sources, or features are given for an encoder that is to be trained.
        """
        require_frozen_encoder(images, is_trained=config.train_vision_encoder)
        self._batches = Batches(
            pairs,
            batch_size=config.batch_size,
            seed=config.seed,
            source_weights=config.source_weights,
        )
        self.config = config
        self.inputs = checkpoint.inputs
        self.backbone = checkpoint.backbone.train()
        make_trainable(
            self.backbone,
            self.inputs,
            lora=None,
            train_vision_encoder=config.train_vision_encoder,
            seed=config.seed,
        )
        self._manifest = checkpoint.manifest
        hidden_size = self.backbone.model.config.get_text_config().hidden_size
        self._dims = self._manifest.dims or (hidden_size,)
        self._augment, self._objectives = augment, objectives
        self._model = CachedForward(self.backbone, self.inputs, images=images)
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

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        return cosine_rate(
            step,
            peak=self.config.learning_rate,
            warmup_steps=self.config.warmup_steps,
            num_steps=self.config.num_steps,
        )

    def batch_at(self, step: int) -> list[Pair]:
        """The pairs of a step, all of one source, augmented; see `Batches`."""
        rng = random.Random(f"{self.config.seed}/step/{step}")
        return [self._augmented(pair, rng) for pair in self._batches.at(step)]

    def _augmented(self, pair: Pair, rng: random.Random) -> Pair:
        return replace(
            pair,
            query=self._augment(pair.query, rng),
            target=self._augment(pair.target, rng),
            negatives=tuple(
                replace(negative, content=self._augment(negative.content, rng))
                for negative in pair.negatives
            ),
        )

    def step(self, step: int) -> dict[str, float]:
        """Learns one batch and returns its losses in nats."""
        batch = self.batch_at(step)
        losses = self.losses(batch, swapped=self.config.swap_roles and step % 2 == 1)
        torch.stack(list(losses.values())).sum().backward()
        logged = {name: loss.item() for name, loss in losses.items()}
        for objective in self._objectives:
            logged |= backward(objective, step, self._model, self._manifest)
        self.optimizer.step(self.rate_at(step))
        return logged

    def losses(self, batch: Sequence[Pair], *, swapped: bool = False) -> dict[str, torch.Tensor]:
        """The parts of the loss, weighted; their sum is what is minimised.

        Args:
            batch: pairs of one source.
            swapped: the targets are the queries. Hard negatives are targets of the given queries,
                so they are left out then.
        """
        manifest = self._manifest.for_source(batch[0].source)
        sides = [pair.query for pair in batch], [pair.target for pair in batch]
        queries, targets = sides[::-1] if swapped else sides
        left_out_BN = false_negatives(batch)
        if not swapped:
            targets = [*targets, *(n.content for pair in batch for n in pair.negatives)]
            left_out_BN = torch.cat([left_out_BN, foreign_negatives(batch)], dim=1)
        query_BD, query_gate = self._direct(queries, manifest.query_instruction)
        target_ND, target_gate = self._direct(targets, manifest.item_instruction)
        contrast = matryoshka_info_nce(
            query_BD,
            target_ND,
            dims=self._dims,
            contrastive_temperature=self.config.contrastive_temperature,
            is_false_negative_BN=left_out_BN.to(query_BD.device),
        )
        return {
            "contrast": contrast,
            "gate": self.config.gate_weight * (query_gate + target_gate) / 2,
        }

    def _direct(
        self, contents: Sequence[Content], instruction: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, D] direct embeddings, and the loss of a gate that should have chosen `direct`."""
        answers = (direct_answer(self.inputs),)
        # Not by the reader's own samples: an augmented content hardly comes a second time.
        samples = [self.inputs.sample(content, instruction) for content in contents]
        output = self._model.forward([PromptWithAnswers(sample, answers) for sample in samples])
        wanted = torch.zeros(len(contents), dtype=torch.long, device=output.gate_B2.device)
        return output.vectors_NH, F.cross_entropy(output.gate_B2, wanted)

    def averaged(self) -> Backbone:
        """A copy of the model with the averaged weights, ready to encode."""
        return averaged(self.backbone, self.optimizer)
