"""Groups of rollouts, half direct and half reasoned, with their rewards.

Shape legend: P = prompts, G = rollouts of each, N = distinct answers: of each prompt the direct
  one, then its reasoned ones; T = tokens of reasoned answers
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from embedder.content import Side
from embedder.finetune.data.pairs import Pair
from embedder.finetune.gate.config import GateConfig
from embedder.finetune.gate.generate import is_well_formed, roll_out, token_logprobs
from embedder.finetune.gate.policy_loss import gate_logprobs
from embedder.finetune.gate.rewards import rank_rewards, utility_rewards
from embedder.finetune.gate.target_bank import TargetBank
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.forward import PromptWithAnswers
from embedder.prompting.answers import direct_answer
from embedder.reasoners.cache import content_key
from embedder.version import Manifest


@dataclass(frozen=True, slots=True)
class GateRollouts:
    """A batch of rollouts of one side."""

    side: Side
    prompted: list[PromptWithAnswers]
    """The direct answer of each prompt, then the reasoned ones."""

    reasons_PG: torch.Tensor
    answer_PG: torch.Tensor
    """Row among the distinct answers; direct rollouts of a prompt share one."""

    reward_PG: torch.Tensor
    gain_PG: torch.Tensor
    """Score minus that of the prompt's direct answer."""

    gate_P2: torch.Tensor
    """The policy's logits of `direct` and `reason` at the time."""

    gate_logprob_PG: torch.Tensor
    """Of the gate token in what it was drawn from."""

    token_logprob_T: torch.Tensor
    reference_P2: torch.Tensor
    """The reference's logits of `direct` and `reason`."""

    reference_logprob_T: torch.Tensor

    def utilities(self) -> torch.Tensor:
        """Return [P], the mean reward of the rollouts that reason minus that of the others."""
        reasoned_P = (self.reward_PG * self.reasons_PG).sum(dim=1) / self.reasons_PG.sum(dim=1)
        direct_PG = ~self.reasons_PG
        return reasoned_P - (self.reward_PG * direct_PG).sum(dim=1) / direct_PG.sum(dim=1)


class RolloutSampler:
    """Sampler of rollouts under a policy, with their rewards."""

    def __init__(
        self,
        model: CachedForward,
        reference: CachedForward,
        bank: TargetBank,
        manifest: Manifest,
        config: GateConfig,
    ) -> None:
        """Take what the rollouts of one training need.

        Args:
            model: reads with the policy.
            reference: reads with the model that the training started from.
            bank: what embeddings are held against.
            manifest: its instructions and its limit on tokens.
            config: how many rollouts, and how they are rewarded.
        """
        self._model, self._reference, self._bank = model, reference, bank
        self._inputs, self._manifest, self._config = model.inputs, manifest, config

    def sample(self, pairs: Sequence[Pair], side: Side, *, seed: str) -> GateRollouts:
        """Roll out and reward one side of the pairs, all of one source, by the policy as it is."""
        manifest = self._manifest.for_source(pairs[0].source)
        contents = [pair.query if side == "query" else pair.target for pair in pairs]
        instruction = manifest.instruction(side)
        samples = [self._model.sample(content, instruction) for content in contents]
        keys = [content_key(content) for content in contents]
        direct = direct_answer(self._inputs)
        bare = [PromptWithAnswers(sample, (direct,)) for sample in samples]
        features = self._model.image_features
        reasoned = roll_out(
            self._model.backbone,
            self._inputs,
            samples,
            self._seeds(keys, bare, seed=seed),
            max_new_tokens=manifest.max_new_tokens,
            temperature=self._config.temperature,
            images=None if features is None else features.features(samples),
        )
        prompted = [
            PromptWithAnswers(sample, (direct, *answers))
            for sample, answers in zip(samples, reasoned, strict=True)
        ]
        return self._judged(pairs, side, prompted)

    def _seeds(
        self, keys: Sequence[str], bare: Sequence[PromptWithAnswers], *, seed: str
    ) -> list[list[str]]:
        """Return each group's seeds of rollouts that reason; equal contents draw the same."""
        numbers = range(self._config.num_generations)
        if self._config.forces_both:
            half = numbers[len(numbers) // 2 :]
            return [[f"{seed}/{key}/{number}" for number in half] for key in keys]
        with torch.no_grad():
            gate_P2 = self._model.forward(bare, with_tokens=False).gate_B2
        probabilities = torch.softmax(gate_P2, dim=-1)[:, 1].tolist()
        return [
            [
                f"{seed}/{key}/{number}"
                for number in numbers
                if random.Random(f"{seed}/gate/{key}/{number}").random() < p
            ]
            for key, p in zip(keys, probabilities, strict=True)
        ]

    @torch.no_grad()
    def _judged(
        self, pairs: Sequence[Pair], side: Side, prompted: list[PromptWithAnswers]
    ) -> GateRollouts:
        config, with_tokens = self._config, self._config.train_tokens
        output = self._model.forward(prompted, with_tokens=with_tokens)
        before = self._reference.forward(prompted, with_tokens=with_tokens)
        reasons_PG, answer_PG = self._groups(prompted, device=output.gate_B2.device)
        owners = [pair for pair, one in zip(pairs, prompted, strict=True) for _ in one.answers]
        similarities = self._bank.similarities(output.vectors_NH, owners, side)
        score_N = similarities.scores(config.rewards)
        direct_P = torch.tensor(_first_answers(prompted), device=score_N.device)
        gain_PG = score_N[answer_PG] - score_N[direct_P][:, None]
        worth_PG = config.rewards.rank * rank_rewards(similarities)[answer_PG]
        worth_PG = worth_PG + config.rewards.utility * self._utility(
            prompted, gain_PG, reasons_PG, answer_PG
        )
        gate_logprob_PG = gate_logprobs(output.gate_B2, reasons_PG)
        if config.forces_both:
            gate_logprob_PG = torch.full_like(gate_logprob_PG, math.log(0.5))
        return GateRollouts(
            side=side,
            prompted=prompted,
            reasons_PG=reasons_PG,
            answer_PG=answer_PG,
            reward_PG=(config.rewards.form + worth_PG) * self._has_form(prompted)[answer_PG],
            gain_PG=gain_PG,
            gate_P2=output.gate_B2,
            gate_logprob_PG=gate_logprob_PG,
            token_logprob_T=token_logprobs(self._model, output, temperature=config.temperature),
            reference_P2=before.gate_B2,
            reference_logprob_T=token_logprobs(
                self._reference, before, temperature=config.temperature
            ),
        )

    def _groups(
        self, prompted: Sequence[PromptWithAnswers], *, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [P, G], whether a rollout reasons, direct ones first, and its distinct answer."""
        reasons, rows = [], []
        for first, one in zip(_first_answers(prompted), prompted, strict=True):
            num_reasoning = len(one.answers) - 1
            num_direct = self._config.num_generations - num_reasoning
            reasons.append([False] * num_direct + [True] * num_reasoning)
            rows.append([first] * num_direct + list(range(first + 1, first + 1 + num_reasoning)))
        return torch.tensor(reasons, device=device), torch.tensor(rows, device=device)

    def _utility(
        self,
        prompted: Sequence[PromptWithAnswers],
        gain_PG: torch.Tensor,
        reasons_PG: torch.Tensor,
        answer_PG: torch.Tensor,
    ) -> torch.Tensor:
        num_tokens_N = gain_PG.new_tensor([len(a) - 1 for one in prompted for a in one.answers])
        return utility_rewards(
            gain_PG,
            reasons_PG,
            num_tokens_N[answer_PG],
            self._config.rewards,
            max_new_tokens=self._manifest.max_new_tokens,
        )

    def _has_form(self, prompted: Sequence[PromptWithAnswers]) -> torch.Tensor:
        """Return [N], True for direct answers and for rationales that keep to the template."""
        max_new_tokens = self._manifest.max_new_tokens
        flags = [
            number == 0 or is_well_formed(answer, self._inputs, max_new_tokens=max_new_tokens)
            for one in prompted
            for number, answer in enumerate(one.answers)
        ]
        return torch.tensor(flags, device=self._model.backbone.device)


def _first_answers(prompted: Sequence[PromptWithAnswers]) -> list[int]:
    """Return the row of each prompt's first answer among all of them."""
    rows = [0]
    for one in prompted:
        rows.append(rows[-1] + len(one.answers))
    return rows[:-1]
