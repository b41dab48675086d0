"""The variants of the reasoning benchmark: what each is taught, and how it is asked.

A training is what a variant's model comes from; variants that differ only in how they are asked
share one. Pairs, base weights, batch size, rate and steps are the same for all stage-1 trainings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.reasoning_rationales import Taught
from embedder.finetune.gate.config import GateConfig, RewardConfig
from embedder.finetune.training.config import JointConfig, JointLossConfig

Asking = Literal["direct", "reasoned", "auto", "better", "given"]
"""direct: never reason. reasoned: always. auto: as the gate says at the version's theta. better:
per question whichever of both finds the answer (an oracle). given: the right rationale is handed
to the model (an oracle)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Where a model comes from."""

    taught: Taught
    """Which rationales stage 1 is taught."""

    cross_mode: bool = True
    """Whether stage 1 has contrast across modes."""

    parent: str = ""
    """The training whose gate this one trains; empty for stage 1."""

    gate: Mapping[str, Any] = field(default_factory=dict)
    """What the gate's training has other than its default here."""

    @property
    def depends_on_mix(self) -> bool:
        """Whether the worker mix makes a difference."""
        return self.taught != "nothing"

    def joint_config(self, *, num_steps: int, seed: int) -> JointConfig:
        """Stage 1. The vision encoder is left alone in every variant, so its features are kept."""
        across = 0.5 if self.cross_mode else 0.0
        loss = JointLossConfig(
            reason_direct=across,
            direct_reason=across,
            gate=0.1,
            false_negative_margin=None,  # the base is wrong about most riddles at first
        )
        return JointConfig(
            num_steps=num_steps,
            loss=loss,
            learning_rate=1e-3,
            warmup_steps=50,
            average_decay=0.98,
            train_vision_encoder=False,
            seed=seed,
        )

    def gate_config(self, *, num_steps: int, seed: int) -> GateConfig:
        """Stage 2, of queries alone: items are direct at test time."""
        # At test time words are the likeliest ones; drawn at 1, rationales are worse than those.
        settings = {
            "sides": ("query",),
            "temperature": 0.3,
            "learning_rate": 5e-5,
            "seed": seed,
            **self.gate,
        }
        return GateConfig(num_steps=num_steps, **settings)


TRAININGS: Mapping[str, Training] = {
    "direct": Training(taught="nothing"),
    "unselected": Training(taught="unselected"),
    "selected": Training(taught="selected"),
    "adaptive": Training(taught="selected", parent="selected"),
    "no_cross_mode": Training(taught="selected", cross_mode=False),
    "one_worker": Training(taught="one_worker"),
    "shuffled_control": Training(taught="shuffled"),
    "plain_delta": Training(
        taught="selected", parent="selected", gate={"rewards": RewardConfig(score="cosine")}
    ),
    "no_forced_groups": Training(taught="selected", parent="selected", gate={"forces_both": False}),
    "closed_form": Training(
        taught="selected", parent="selected", gate={"estimator": "closed_form"}
    ),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the table."""

    training: str
    asking: Asking


VARIANTS: Mapping[str, Variant] = {
    "direct": Variant("direct", "direct"),
    "always_unselected": Variant("unselected", "reasoned"),
    "always_selected": Variant("selected", "reasoned"),
    "adaptive": Variant("adaptive", "auto"),
    "oracle_gate": Variant("selected", "better"),
    "oracle_rationale": Variant("selected", "given"),
    "no_cross_mode": Variant("no_cross_mode", "reasoned"),
    "one_worker": Variant("one_worker", "reasoned"),
    "shuffled_control": Variant("shuffled_control", "reasoned"),
    "plain_delta": Variant("plain_delta", "auto"),
    "no_forced_groups": Variant("no_forced_groups", "auto"),
    "closed_form": Variant("closed_form", "auto"),
}
"""Ablations of stage 1 are asked as `always_selected` is, those of stage 2 as `adaptive` is."""
