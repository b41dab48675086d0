"""Groups of rollouts, direct, reasoned and perhaps silent, with their rewards.

Shape legend: P = prompts, G = rollouts of each, N = distinct answers: of each prompt the direct
  one, its reasoned ones, and the silent one if the version has that mode; T = tokens of reasoned
  answers, A = actions
"""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from embedder.content import Action, Side
from embedder.finetune.data.pairs import Pair
from embedder.finetune.gate.config import GateConfig
from embedder.finetune.gate.generate import is_well_formed, roll_out, token_logprobs
from embedder.finetune.gate.policy_loss import gate_logprobs
from embedder.finetune.gate.rewards import choice_rewards, rank_rewards, utility_rewards
from embedder.finetune.gate.target_bank import TargetBank
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.forward import PromptWithAnswers
from embedder.prompting.answers import direct_answer, silent_answer
from embedder.reasoners.cache import content_key
from embedder.version import Manifest

ACTIONS: tuple[Action, ...] = ("direct", "reason", "silent")
"""Columns of the gate's logits."""


@dataclass(frozen=True, slots=True)
class GateRollouts:
    """A batch of rollouts of one side."""

    side: Side
    prompted: list[PromptWithAnswers]
    """The direct answer of each prompt, then the reasoned ones, then the silent one if any."""

    action_PG: torch.Tensor
    """What each rollout does, as a column of the gate's logits."""

    answer_PG: torch.Tensor
    """Row among the distinct answers; direct rollouts of a prompt share one, and so do
    silent ones."""

    reward_PG: torch.Tensor
    gain_PG: torch.Tensor
    """Score minus that of the prompt's direct answer."""

    gate_PA: torch.Tensor
    """The policy's logits of the actions at the time."""

    gate_logprob_PG: torch.Tensor
    """Of the gate token in what it was drawn from."""

    token_logprob_T: torch.Tensor
    reference_PA: torch.Tensor
    """The reference's logits of the actions."""

    reference_logprob_T: torch.Tensor

    @property
    def reasons_PG(self) -> torch.Tensor:
        """True where the rollout reasons."""
        return self.action_PG == ACTIONS.index("reason")

    def utilities(self) -> torch.Tensor:
        """Return [P, A - 1], the mean reward of each other action minus that of a direct answer."""
        mean = [self._mean_reward(action) for action in range(self.gate_PA.shape[1])]
        return torch.stack([one - mean[0] for one in mean[1:]], dim=1)

    def _mean_reward(self, action: int) -> torch.Tensor:
        taken_PG = self.action_PG == action
        return (self.reward_PG * taken_PG).sum(dim=1) / taken_PG.sum(dim=1)


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
        if any(self._num_actions(side) == 3 for side in config.sides):
            _require_three(config)

    def _num_actions(self, side: Side) -> int:
        return len(self._manifest.actions(side))

    def sample(self, pairs: Sequence[Pair], side: Side, *, seed: str) -> GateRollouts:
        """Roll out and reward one side of the pairs, all of one source, by the policy as it is."""
        manifest = self._manifest.for_source(pairs[0].source)
        contents = [pair.query if side == "query" else pair.target for pair in pairs]
        instruction = manifest.instruction(side)
        samples = [self._model.sample(content, instruction) for content in contents]
        keys = [content_key(content) for content in contents]
        direct = direct_answer(self._inputs)
        silent = tuple[tuple[int, ...], ...]()
        if self._num_actions(side) == 3:
            assert manifest.silent is not None
            silent = (silent_answer(self._inputs, num_tokens=manifest.silent.num_tokens),)
        bare = [PromptWithAnswers(sample, (direct,)) for sample in samples]
        actions = self._actions(keys, bare, side, seed=seed)
        features = self._model.image_features
        reasoned = roll_out(
            self._model.backbone,
            self._inputs,
            samples,
            [
                [f"{seed}/{key}/{number}" for number, action in own.items() if action == "reason"]
                for key, own in zip(keys, actions, strict=True)
            ],
            max_new_tokens=manifest.max_new_tokens,
            temperature=self._config.temperature,
            images=None if features is None else features.features(samples),
        )
        prompted = [
            PromptWithAnswers(sample, (direct, *answers, *silent))
            for sample, answers in zip(samples, reasoned, strict=True)
        ]
        return self._judged(pairs, side, prompted, [list(own.values()) for own in actions])

    def _actions(
        self, keys: Sequence[str], bare: Sequence[PromptWithAnswers], side: Side, *, seed: str
    ) -> list[dict[int, Action]]:
        """Return what each rollout of each group does, by number; equal contents draw the same."""
        config, numbers = self._config, range(self._config.num_generations)
        if config.forces_both:
            forced = forced_actions(config.num_generations, self._num_actions(side))
            return [dict(enumerate(forced)) for _ in keys]
        with torch.no_grad():
            gate_PG = self._model.forward(bare, with_tokens=False).gate_BG
        probabilities = torch.softmax(gate_PG[:, : self._num_actions(side)], dim=-1).tolist()
        return [
            {
                number: _drawn(random.Random(f"{seed}/gate/{key}/{number}").random(), own)
                for number in numbers
            }
            for key, own in zip(keys, probabilities, strict=True)
        ]

    @torch.no_grad()
    def _judged(
        self,
        pairs: Sequence[Pair],
        side: Side,
        prompted: list[PromptWithAnswers],
        actions: Sequence[Sequence[Action]],
    ) -> GateRollouts:
        config, with_tokens = self._config, self._config.train_tokens
        output = self._model.forward(prompted, with_tokens=with_tokens)
        before = self._reference.forward(prompted, with_tokens=with_tokens)
        num_actions, device = self._num_actions(side), output.gate_BG.device
        gate_PA = output.gate_BG[:, :num_actions]
        action_PG, answer_PG = _groups(prompted, actions, device=device)
        owners = [pair for pair, one in zip(pairs, prompted, strict=True) for _ in one.answers]
        similarities = self._bank.similarities(output.vectors_NH, owners, side)
        score_N = similarities.scores(config.rewards)
        direct_P = torch.tensor(_first_answers(prompted), device=score_N.device)
        gain_PG = score_N[answer_PG] - score_N[direct_P][:, None]
        worth_PG = config.rewards.rank * rank_rewards(similarities)[answer_PG]
        worth_PG = worth_PG + config.rewards.utility * self._utility(
            prompted, gain_PG, action_PG, answer_PG, num_actions=num_actions
        )
        gate_logprob_PG = gate_logprobs(gate_PA, action_PG)
        if config.forces_both:
            shares = [actions[0].count(action) for action in ACTIONS[:num_actions]]
            logprobs = [math.log(share / config.num_generations) for share in shares]
            gate_logprob_PG = gate_logprob_PG.new_tensor(logprobs)[action_PG]
        return GateRollouts(
            side=side,
            prompted=prompted,
            action_PG=action_PG,
            answer_PG=answer_PG,
            reward_PG=(config.rewards.form + worth_PG) * self._has_form(prompted)[answer_PG],
            gain_PG=gain_PG,
            gate_PA=gate_PA,
            gate_logprob_PG=gate_logprob_PG,
            token_logprob_T=token_logprobs(self._model, output, temperature=config.temperature),
            reference_PA=before.gate_BG[:, :num_actions],
            reference_logprob_T=token_logprobs(
                self._reference, before, temperature=config.temperature
            ),
        )

    def _utility(
        self,
        prompted: Sequence[PromptWithAnswers],
        gain_PG: torch.Tensor,
        action_PG: torch.Tensor,
        answer_PG: torch.Tensor,
        *,
        num_actions: int,
    ) -> torch.Tensor:
        rewards, max_new_tokens = self._config.rewards, self._manifest.max_new_tokens
        num_tokens_N = gain_PG.new_tensor([len(a) - 1 for one in prompted for a in one.answers])
        num_tokens_PG = num_tokens_N[answer_PG]
        if num_actions == 2:
            return utility_rewards(
                gain_PG,
                action_PG == ACTIONS.index("reason"),
                num_tokens_PG,
                rewards,
                max_new_tokens=max_new_tokens,
            )
        num_tokens_PG[action_PG == ACTIONS.index("direct")] = 0.0
        num_tokens_PG[action_PG == ACTIONS.index("silent")] = rewards.silent_tokens or 0.0
        return choice_rewards(gain_PG, num_tokens_PG, rewards, max_new_tokens=max_new_tokens)

    def _has_form(self, prompted: Sequence[PromptWithAnswers]) -> torch.Tensor:
        """Return [N], False for a rationale that does not keep to the template."""
        max_new_tokens, reason_id = self._manifest.max_new_tokens, self._inputs.reason_id
        flags = [
            answer[0] != reason_id
            or is_well_formed(answer, self._inputs, max_new_tokens=max_new_tokens)
            for one in prompted
            for answer in one.answers
        ]
        return torch.tensor(flags, device=self._model.backbone.device)


def forced_actions(num_generations: int, num_actions: int) -> list[Action]:
    """Return a group in which every action has about the same share; reasoning has the most.

    >>> forced_actions(8, 3)
    ['direct', 'direct', 'direct', 'reason', 'reason', 'reason', 'silent', 'silent']
    """
    num_reasoning = -(-num_generations // num_actions)
    num_silent = (num_generations - num_reasoning) // 2 if num_actions == 3 else 0
    num_direct = num_generations - num_reasoning - num_silent
    numbers = (num_direct, num_reasoning, num_silent)
    return [action for action, number in zip(ACTIONS, numbers, strict=True) for _ in range(number)]


def _drawn(uniform: float, probabilities: Sequence[float]) -> Action:
    """Return the action that a number in [0, 1) draws; `reason` has the lowest ones."""
    if uniform < probabilities[1]:
        return "reason"
    return "silent" if uniform < sum(probabilities[1:]) else "direct"


def _require_three(config: GateConfig) -> None:
    if config.num_generations < 4:
        raise ValueError(
            "num_generations must be at least 4 where the gate chooses among three actions, got "
            f"{config.num_generations}"
        )
    if config.rewards.silent_tokens is None:
        raise ValueError(
            "rewards.silent_tokens must be a number where the gate chooses among three actions; "
            "embedder.finetune.gate.costs measures it"
        )


def _groups(
    prompted: Sequence[PromptWithAnswers],
    actions: Sequence[Sequence[Action]],
    *,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return [P, G] the column of each rollout's action, in their order, and its answer's row."""
    columns, rows = [], []
    for first, one, own in zip(_first_answers(prompted), prompted, actions, strict=True):
        ordered = sorted(own, key=ACTIONS.index)
        reasoned = itertools.count(first + 1)
        shared: dict[Action, int] = {"direct": first, "silent": first + len(one.answers) - 1}
        columns.append([ACTIONS.index(action) for action in ordered])
        rows.append([shared[a] if a in shared else next(reasoned) for a in ordered])
    return torch.tensor(columns, device=device), torch.tensor(rows, device=device)


def _first_answers(prompted: Sequence[PromptWithAnswers]) -> list[int]:
    """Return the row of each prompt's first answer among all of them."""
    rows = [0]
    for one in prompted:
        rows.append(rows[-1] + len(one.answers))
    return rows[:-1]
