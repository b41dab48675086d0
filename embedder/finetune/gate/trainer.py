"""Stage 2: the gate learns to reason only where it pays.

MMEmb-R1 (arXiv 2604.06156) trains the choice with GRPO on a reward of which only the ingredients
are known; everything below is our reconstruction. A group of rollouts of one prompt is half direct,
half reasoned (AdaptThink and R-4B force both modes, else the rarer one dies out), so the gate token
was drawn with probability 1/2, whatever the policy says. Its ratio is therefore not clipped by
default: it is no step of the policy but a known weight, and clipping it would hold p(reason) within
about 0.36 and 0.64 for good.

Shape legend: P = prompts, G = rollouts of each, N = distinct answers, T = words
"""

import copy
import math
import random
from collections.abc import Sequence

import torch

from embedder.content import reasons
from embedder.finetune.data.sampler import Batches
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
from embedder.finetune.training.adapters import averaged, make_trainable
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.image_features import ImageFeatureCache, require_frozen_encoder
from embedder.finetune.training.joint_loss import JointObjective, drawn
from embedder.finetune.training.optimizer import AveragedAdamW, cosine_rate
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import Checkpoint


class GateTrainer:
    """Policy, reference, optimiser and schedule; run by `embedder.finetune.training.loop.train`.

    A step depends on the state and its number alone, so a training that goes on from a saved state
    ends with the weights of one that was never interrupted.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        examples: Sequence[TrainingExample],
        config: GateConfig,
        *,
        images: ImageFeatureCache | None = None,
    ) -> None:
        """Takes the checkpoint's weights over: they are changed in place; a copy is the reference.

        Args:
            checkpoint: jointly trained: it must know both modes.
            examples: of joint training, of any number of sources. Rewards are measured on their
                pairs; with their rationales they are replayed.
            config: how.
            images: features by the checkpoint's encoder, which is then not trained.

        Raises:
            ValueError: a source has fewer examples than a batch holds, `source_weights` names other
                sources, or features are given for an encoder that is to be trained.
        """
        require_frozen_encoder(
            images, is_trained=config.train_vision_encoder and config.lora is None
        )
        self.config, self.backbone = config, checkpoint.backbone
        self._inputs, self._manifest = checkpoint.inputs, checkpoint.manifest
        self._batches = Batches(
            examples,
            batch_size=config.batch_size,
            seed=config.seed,
            source_weights=config.source_weights,
        )
        reference = CachedForward(copy.deepcopy(self.backbone), self._inputs, images=images)
        bank = TargetBank(
            reference,
            self._manifest,
            [example.pair for example in examples],
            batch_size=4 * config.batch_size,
            max_targets=config.max_targets,
        )
        self._adapted = make_trainable(
            self.backbone,
            self._inputs,
            lora=config.lora,
            train_vision_encoder=config.train_vision_encoder,
            seed=config.seed,
        )
        self._model = CachedForward(self.backbone, self._inputs, images=images)
        self.source = RolloutSampler(self._model, reference, bank, self._manifest, config)
        self._replay = JointObjective(self._model, self._manifest, config.replay())
        self.optimizer = AveragedAdamW(
            self.backbone.parameters(),
            weight_decay=0.0,
            average_decay=config.average_decay,
            max_gradient_norm=config.max_gradient_norm,
        )

    @property
    def num_steps(self) -> int:
        """Steps of the whole training."""
        return self.config.num_steps

    def averaged(self) -> Backbone:
        """A copy of the model with the averaged weights, adapters merged, ready to encode."""
        return averaged(self.backbone, self.optimizer, self._adapted)

    def step(self, step: int) -> dict[str, float]:
        """Rolls one batch out, learns from it, and returns what there is to log."""
        config, examples = self.config, self._batches.at(step)
        pairs = [example.pair for example in examples]
        rng = random.Random(f"{config.seed}/paths/{step}")
        replayed = [drawn(example, rng) for example in examples]
        batches = [
            self.source.rolled_out(pairs, side, seed=f"{config.seed}/{step}/{side}")
            for side in config.sides
        ]
        logged = {
            f"{batch.side}/{name}": value
            for batch in batches
            for name, value in self._worth(batch).items()
        }
        rate = cosine_rate(
            step,
            peak=config.learning_rate,
            warmup_steps=config.warmup_steps,
            num_steps=config.num_steps,
        )
        for _ in range(config.num_updates):
            for batch in batches:
                parts = self.losses(batch)
                (torch.stack(list(parts.values())).sum() / len(batches)).backward()
                logged |= {f"{batch.side}/{name}_loss": x.item() for name, x in parts.items()}
            if config.replay_weight:
                losses = self._replay.backward(replayed)
                logged |= {f"replay/{name}": loss for name, loss in losses.items()}
            self.optimizer.step(rate)
        return logged

    def losses(self, rollouts: GateRollouts) -> dict[str, torch.Tensor]:
        """The parts of the loss, weighted; their sum is what is minimised.

        With words, sums over tokens are divided by a constant, the most that there can be, so that
        the gate token of a long rationale weighs what that of a direct answer does.
        """
        config = self.config
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
        losses["words"] = -token_gain_T.sum() / rollouts.reasons_PG.numel()
        return {name: loss / self._manifest.max_new_tokens for name, loss in losses.items()}

    def _worth(self, rollouts: GateRollouts) -> dict[str, float]:
        """What there is to log about rollouts, means over prompts or over rationales.

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
        return {
            "reward": rollouts.reward_PG.mean().item(),
            "gain": gain_P.mean().item(),
            "gain_frac": (gain_P > 0).float().mean().item(),
            "reason_probability": probability_P.mean().item(),
            "reason_frac": reasons_P.float().mean().item(),
            "agreement": (reasons_P == (gain_P > 0)).float().mean().item(),
            "form_frac": sum(formed) / max(1, len(formed)),
            "num_tokens": sum(len(one) - 1 for one in rationales) / max(1, len(rationales)),
        }
