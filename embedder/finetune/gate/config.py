"""Configuration of the gate's training and its rewards; free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from embedder.content import Side
from embedder.finetune.training.config import JointLossConfig, TrainingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardConfig:
    """How rewards are weighed."""

    form: float = 1.0
    """Weight of 1 for an answer that keeps to the template. One that does not earns nothing."""

    rank: float = 1.0
    """Weight of the retrieval reward (`rank_rewards`)."""

    utility: float = 1.0
    """Weight of the adaptive reward (`utility_rewards`)."""

    score: Literal["margin", "cosine"] = "margin"
    """What gains are measured in: the cosine with the partner less that of the nearest negatives,
    or the cosine alone, which a policy can raise by moving all vectors closer."""

    score_temperature: float = 0.05
    """Of the soft maximum over the negatives, > 0; in cosines."""

    gain_scale: float = 0.1
    """A gain of so much is worth 1, which is the most; in units of the score."""

    token_cost: float = 0.1
    """What a rationale of the greatest length costs, shorter ones in proportion; in utility."""

    def __post_init__(self) -> None:
        for name in ("score_temperature", "gain_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig(TrainingConfig):
    """How the gate of a jointly trained checkpoint is trained."""

    batch_size: int = 16
    """Pairs a step."""

    sides: tuple[Side, ...] = ("query", "item")
    """Which sides of a pair the gate is trained on."""

    num_generations: int = 8
    """G, rollouts of each prompt."""

    forces_both: bool = True
    """Half of each group answers directly and half reasons. Without, the policy draws."""

    estimator: Literal["grpo", "closed_form"] = "grpo"
    """GRPO, or the gradient of p(reason) times the mean utility, without group normalisation."""

    rewards: RewardConfig = field(default_factory=RewardConfig)
    """What a rollout is worth."""

    train_tokens: bool = False
    """Whether the tokens of the rationales are reinforced beside the gate. Only with GRPO."""

    temperature: float = 1.0
    """Of the tokens that are drawn."""

    num_updates: int = 1
    """Optimiser steps on each batch of rollouts."""

    clip_low: float = 0.2
    """A token's ratio is clipped below 1 minus this."""

    clip_high: float = 0.28
    """A token's ratio is clipped above 1 plus this."""

    clips_gate: bool = False
    """Whether the gate's ratio to the probability that it was drawn with is clipped as well."""

    kl_weight: float = 0.04
    """Weight of the divergence from the checkpoint that the training started from."""

    replay_weight: float = 1.0
    """Weight of what joint training learnt from the same examples, learnt again: contrast of direct
    queries and, against direct targets, of reasoned ones, and the rationales' tokens. Without, the
    weights that the gate shares with them drift away; 0 leaves it out."""

    max_targets: int = 1024
    """Of a side, that rewards are measured against."""

    learning_rate: float = 1e-5
    """Peak of AdamW's rate; a cosine then takes it to 0."""

    warmup_steps: int = 10
    """Steps over which the rate grows linearly."""

    weight_decay: float = 0.0
    """Of matrices; what joint training learnt is not to shrink."""

    average_decay: float = 0.9
    """The weights that are kept are a moving average with this decay an update."""

    train_vision_encoder: bool = False
    """Whether the vision encoder is trained; with `lora` it never is."""

    train_audio_encoder: bool = False
    """Whether an audio encoder is trained, where the base has one; with `lora` only one that a
    fine-tune gave to it."""

    source_weights: Mapping[str, float] = field(default_factory=dict)
    """How often a source fills a batch, relative to the others; empty: as often as it has pairs."""

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        for name in ("batch_size", "num_updates", "temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.num_generations < 2 or self.num_generations % 2:
            raise ValueError(
                f"num_generations must be even and at least 2, got {self.num_generations}"
            )
        if self.estimator == "closed_form" and (self.train_tokens or not self.forces_both):
            raise ValueError(
                "the closed form needs forces_both and is for the gate alone; unset train_tokens"
            )

    def replay(self) -> JointLossConfig:
        """Return what is replayed. Nothing is taken for a false negative by its score alone."""
        return JointLossConfig(
            direct_direct=self.replay_weight,
            reason_reason=0.0,
            reason_direct=self.replay_weight,
            direct_reason=self.replay_weight,
            next_token=self.replay_weight,
            false_negative_margin=None,
        )
