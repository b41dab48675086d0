"""Objective of stage 2: a gate that reasons only where it pays.

MMEmb-R1 (arXiv 2604.06156) trains the choice with GRPO on a reward of which only the ingredients
are known; everything below is our reconstruction. A group of rollouts of one prompt is half direct,
half reasoned (AdaptThink and R-4B force both modes, else the rarer one dies out), so the gate token
was drawn with probability 1/2, whatever the policy says. Its ratio is therefore not clipped by
default: it is no step of the policy but a known weight, and clipping it would hold p(reason) within
about 0.36 and 0.64 for good.

Shape legend: P = prompts, G = rollouts of each, N = distinct answers, T = tokens
"""

import copy
import math
import random
from collections.abc import Mapping, Sequence

import torch

from embedder.content import reasons
from embedder.finetune.data.sampler import BatchSampler
from embedder.finetune.gate.config import GateConfig
from embedder.finetune.gate.generate import is_well_formed, token_logprobs
from embedder.finetune.gate.policy_loss import (
    clipped_gain,
    expected_gain,
    gate_divergence,
    gate_logprobs,
    group_advantages,
    k3,
)
from embedder.finetune.gate.rollouts import GateRollouts, RolloutSampler
from embedder.finetune.gate.target_bank import TargetBank
from embedder.finetune.records import TrainingExample
from embedder.finetune.training.adapters import TrainedBackbone, require_no_head
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.image_features import ImageFeatureCache, require_frozen_encoder
from embedder.finetune.training.joint_loss import JointLoss, drawn
from embedder.finetune.training.loop import Trainer
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint


class GateObjective:
    """The policy's loss on rollouts of its own, and joint training's loss replayed.

    A `loop.Objective`. The policy is the checkpoint's model; a copy of it is the reference.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        examples: Sequence[TrainingExample],
        config: GateConfig,
        *,
        image_features: ImageFeatureCache | None = None,
    ) -> None:
        """Embed all sides of the pairs by the reference; arguments as of `gate_trainer`."""
        require_frozen_encoder(image_features, is_trained=config.trains_vision_encoder)
        self._config, self._manifest, self._inputs = config, checkpoint.manifest, checkpoint.inputs
        self.num_updates = config.num_updates
        self._batches = BatchSampler(
            examples,
            batch_size=config.batch_size,
            seed=config.seed,
            source_weights=config.source_weights,
        )

        def forward_of(backbone: Backbone) -> CachedForward:
            return CachedForward(backbone, checkpoint.inputs, image_features=image_features)

        reference = forward_of(copy.deepcopy(checkpoint.backbone))
        bank = TargetBank(
            reference,
            self._manifest,
            [example.pair for example in examples],
            batch_size=4 * config.batch_size,
            max_targets=config.max_targets,
        )
        self._model = forward_of(checkpoint.backbone)
        self.sampler = RolloutSampler(self._model, reference, bank, self._manifest, config)
        self._replay = JointLoss(self._model, self._manifest, config.replay())
        self._rollouts: list[GateRollouts] = []

    def backward(self, step: int, update: int) -> dict[str, float]:
        """Add the gradients of an update; a step's first one rolls out what all of them learn."""
        config, examples = self._config, self._batches.at(step)
        logged: dict[str, float] = {}
        if update == 0:
            pairs = [example.pair for example in examples]
            self._rollouts = [
                self.sampler.sample(pairs, side, seed=f"{config.seed}/{step}/{side}")
                for side in config.sides
            ]
            for rollouts in self._rollouts:
                logged |= _named(rollouts.side, self._worth(rollouts))
        for rollouts in self._rollouts:
            parts = self.losses(rollouts)
            (torch.stack(list(parts.values())).sum() / len(self._rollouts)).backward()
            losses = {f"{name}_loss": part.item() for name, part in parts.items()}
            logged |= _named(rollouts.side, losses)
        if config.replay_weight:
            rng = random.Random(f"{config.seed}/paths/{step}")
            replayed = [drawn(example, rng) for example in examples]
            logged |= _named("replay", self._replay.backward(replayed))
        return logged

    def losses(self, rollouts: GateRollouts) -> dict[str, torch.Tensor]:
        """Return the parts of the loss, weighted; their sum is what is minimised.

        With tokens, sums over those of a rationale are divided by a constant, the most that there
        can be, so that no length is favoured; the gate weighs what it does without them. (Dr. GRPO
        divides the first token like the others, here the gate's would drown beside the replay.)
        """
        config = self._config
        output = self._model.forward(rollouts.prompted, with_tokens=config.train_tokens)
        divergence = gate_divergence(output.gate_B2, rollouts.reference_P2).mean()
        if config.estimator == "closed_form":
            gain = expected_gain(output.gate_B2, rollouts.utilities()).mean()
            return {"gate": -gain, "kl": config.kl_weight * divergence}
        advantage_PG = group_advantages(rollouts.reward_PG)
        gate_PG = clipped_gain(
            gate_logprobs(output.gate_B2, rollouts.reasons_PG),
            rollouts.gate_logprob_PG,
            advantage_PG,
            clip_low=config.clip_low if config.clips_gate else 1.0,
            clip_high=config.clip_high if config.clips_gate else math.inf,
        )
        losses = {"gate": -gate_PG.mean(), "kl": config.kl_weight * divergence}
        if not config.train_tokens:
            return losses
        logprob_T = token_logprobs(self._model, output, temperature=config.temperature)
        advantage_N = advantage_PG.new_zeros(len(output.vectors_NH))
        advantage_N[rollouts.answer_PG] = advantage_PG
        token_gain_T = clipped_gain(
            logprob_T,
            rollouts.token_logprob_T,
            advantage_N[output.answer_T],
            clip_low=config.clip_low,
            clip_high=config.clip_high,
        )
        token_gain_T = token_gain_T - config.kl_weight * k3(logprob_T, rollouts.reference_logprob_T)
        most = self._manifest.max_new_tokens * rollouts.reasons_PG.numel()
        losses["tokens"] = -token_gain_T.sum() / most
        return losses

    def _worth(self, rollouts: GateRollouts) -> dict[str, float]:
        """Return what there is to log about rollouts, means over prompts or over rationales.

        `agreement` is the share of prompts whose gate, cut at theta, does what the gains advise.
        """
        probability_P = torch.softmax(rollouts.gate_P2, dim=-1)[:, 1]
        reasons_P = reasons(probability_P, policy="auto", theta=self._manifest.theta)
        num_reasoned_P = rollouts.reasons_PG.sum(dim=1).clamp(min=1)
        gain_P = (rollouts.gain_PG * rollouts.reasons_PG).sum(dim=1) / num_reasoned_P
        max_new_tokens = self._manifest.max_new_tokens
        rationales = [answer for one in rollouts.prompted for answer in one.answers[1:]]
        formed = [
            is_well_formed(one, self._inputs, max_new_tokens=max_new_tokens) for one in rationales
        ]
        worth = {
            "reward": rollouts.reward_PG.mean().item(),
            "gain": gain_P.mean().item(),
            "gain_frac": (gain_P > 0).float().mean().item(),
            "reason_probability": probability_P.mean().item(),
            "reason_frac": reasons_P.float().mean().item(),
            "agreement": (reasons_P == (gain_P > 0)).float().mean().item(),
            "form_frac": sum(formed) / max(1, len(formed)),
            "num_tokens": sum(len(one) - 1 for one in rationales) / max(1, len(rationales)),
        }
        if self._config.train_tokens and len(rollouts.token_logprob_T):
            drift_T = k3(rollouts.token_logprob_T, rollouts.reference_logprob_T)
            worth["token_kl"] = drift_T.mean().item()
        return worth


def gate_trainer(
    checkpoint: Checkpoint,
    examples: Sequence[TrainingExample],
    config: GateConfig,
    *,
    image_features: ImageFeatureCache | None = None,
) -> Trainer[Backbone]:
    """Return the gate's training of a checkpoint, whose weights it changes in place.

    Args:
        checkpoint: jointly trained: it must know both modes.
        examples: of joint training, of any number of sources. Rewards are measured on their pairs;
            with their rationales they are replayed.
        config: how.
        image_features: features by the checkpoint's encoder, which is then not trained.

    Raises:
        ValueError: a source has fewer examples than a batch holds, `source_weights` names other
            sources, features are given for an encoder that is to be trained, or the checkpoint has
            an embedding head.
    """
    require_no_head(checkpoint.backbone)
    objective = GateObjective(checkpoint, examples, config, image_features=image_features)
    model = TrainedBackbone(checkpoint.backbone, checkpoint.inputs, config)
    return Trainer(model, config, objective)


def _named(group: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}
