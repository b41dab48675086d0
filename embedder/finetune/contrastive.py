"""Contrastive fine-tuning of direct embeddings: pairs of contents in, a better backbone out.

Left out, for the joint training to add: rationales, reasoned embeddings and their next-token loss.
The gate is only taught to answer directly, the one mode that is trained here, so that the policy
`auto` does not reason with a rationale writer that has been neglected.

Shape legend: B = pairs in the batch, D = embedding dimension
"""

import copy
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from embedder.backbone import Backbone
from embedder.checkpoint import Checkpoint
from embedder.content import Content
from embedder.finetune.pairs import Pair, false_negatives
from embedder.losses import matryoshka_info_nce

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

    seed: int = 0
    """Decides the order of the pairs and what augmentation draws."""

    def __post_init__(self) -> None:
        for field in ("num_steps", "batch_size", "learning_rate", "max_gradient_norm"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field} must be > 0, got {getattr(self, field)}")
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
        augment: Augment = lambda content, source: content,
    ) -> None:
        """Takes the checkpoint's weights over: they are changed in place.

        Args:
            checkpoint: where to start from.
            pairs: what to learn.
            config: how.
            augment: varies each content before it is read.

        Raises:
            ValueError: there are fewer pairs than a batch holds.
        """
        if len(pairs) < config.batch_size:
            raise ValueError(
                f"a batch needs {config.batch_size} pairs, got {len(pairs)}; lower batch_size"
            )
        self.config = config
        self.inputs = checkpoint.inputs
        self.backbone = checkpoint.backbone.train().requires_grad_(True)
        manifest = checkpoint.manifest
        self._instructions = (manifest.query_instruction, manifest.item_instruction)
        self._dims = manifest.dims or (self.backbone.model.config.get_text_config().hidden_size,)
        self._pairs, self._augment = pairs, augment
        parameters = list(self.backbone.parameters())
        self.average = [parameter.detach().clone() for parameter in parameters]
        decayed = [p for p in parameters if p.ndim > 1]
        others = [p for p in parameters if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        )

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then a cosine to 0."""
        config = self.config
        if step < config.warmup_steps:
            return config.learning_rate * (step + 1) / config.warmup_steps
        progress = (step - config.warmup_steps) / max(1, config.num_steps - config.warmup_steps)
        return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2

    def batch_at(self, step: int) -> list[Pair]:
        """The pairs of a step: every epoch a new order, its incomplete last batch left out."""
        size = self.config.batch_size
        epoch, position = divmod(step, len(self._pairs) // size)
        order = list(range(len(self._pairs)))
        random.Random(f"{self.config.seed}/epoch/{epoch}").shuffle(order)
        source = random.Random(f"{self.config.seed}/step/{step}")
        return [
            Pair(
                self._augment(pair.query, source),
                self._augment(pair.target, source),
                pair.query_key,
                pair.target_key,
            )
            for pair in (self._pairs[n] for n in order[position * size : (position + 1) * size])
        ]

    def step(self, step: int) -> dict[str, float]:
        """Learns one batch and returns its losses in nats."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate_at(step)
        batch = self.batch_at(step)
        losses = self.losses(batch, swapped=self.config.swap_roles and step % 2 == 1)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.backbone.parameters(), self.config.max_gradient_norm)
        self.optimizer.step()
        with torch.no_grad():
            for average, parameter in zip(self.average, self.backbone.parameters(), strict=True):
                average.lerp_(parameter, 1 - self.config.average_decay)
        return {name: loss.item() for name, loss in losses.items()}

    def losses(self, batch: Sequence[Pair], *, swapped: bool = False) -> dict[str, torch.Tensor]:
        """The parts of the loss, weighted; their sum is what is minimised."""
        sides = [pair.query for pair in batch], [pair.target for pair in batch]
        queries, targets = sides[::-1] if swapped else sides
        query_BD, query_gate = self._direct(queries, self._instructions[0])
        target_BD, target_gate = self._direct(targets, self._instructions[1])
        contrast = matryoshka_info_nce(
            query_BD,
            target_BD,
            dims=self._dims,
            contrastive_temperature=self.config.contrastive_temperature,
            is_false_negative_BN=false_negatives(batch).to(query_BD.device),
        )
        return {
            "contrast": contrast,
            "gate": self.config.gate_weight * (query_gate + target_gate) / 2,
        }

    def _direct(
        self, contents: Sequence[Content], instruction: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, D] direct embeddings, and the loss of a gate that should have chosen `direct`."""
        ids = self.inputs
        samples = [ids.sample(content, instruction) for content in contents]
        batch = ids.batch([sample.extended((ids.direct_id, ids.emb_id)) for sample in samples])
        states = self.backbone.states(batch.to(self.backbone.device))
        gate_logits = self.backbone.logits(states[:, -3])[:, [ids.direct_id, ids.reason_id]]
        wanted = torch.zeros(len(contents), dtype=torch.long, device=states.device)
        return F.normalize(states[:, -1], dim=-1), F.cross_entropy(gate_logits, wanted)

    def averaged(self) -> Backbone:
        """A copy of the model with the averaged weights, ready to encode."""
        backbone = copy.deepcopy(self.backbone).eval().requires_grad_(False)
        for parameter, average in zip(backbone.parameters(), self.average, strict=True):
            parameter.copy_(average)
        return backbone
