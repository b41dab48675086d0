"""Tests of the gate's training where a version can also answer silently."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from embedder.finetune.gate.config import GateConfig, RewardConfig
from embedder.finetune.gate.objective import gate_trainer
from embedder.finetune.gate.rollouts import ACTIONS
from embedder.finetune.records import TrainingExample
from embedder.version import SilentMode

PLAIN = RewardConfig(
    form=0.0, rank=0.0, score="cosine", gain_scale=10.0, token_cost=0.5, silent_tokens=2.0
)


@pytest.fixture(scope="module")
def version(with_silent):
    return with_silent(SilentMode(num_latents=2))


@pytest.fixture
def trainer(version, pairs):
    def made(**changes):
        own = replace(version, backbone=copy.deepcopy(version.backbone))
        short = replace(own.manifest, max_new_tokens=8)
        settings = {"num_steps": 8, "batch_size": 4, "num_generations": 8, "rewards": PLAIN}
        config = GateConfig(**{**settings, "average_decay": 0.0, **changes})
        return gate_trainer(
            replace(own, manifest=short), [TrainingExample(pair) for pair in pairs], config
        )

    return made


def test_a_group_holds_all_three_and_silence_pays_its_measured_cost(trainer, pairs):
    rollouts = trainer().objective.sampler.sample(pairs[:2], "query", seed="a")
    assert rollouts.action_PG.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2]] * 2
    assert rollouts.answer_PG.tolist() == [
        [0, 0, 0, 1, 2, 3, 4, 4],
        [5, 5, 5, 6, 7, 8, 9, 9],
    ]
    logprobs = [math.log(3 / 8)] * 6 + [math.log(2 / 8)] * 2
    assert rollouts.gate_logprob_PG[0].tolist() == pytest.approx(logprobs)
    # Without weight for the form the reward is the utility, for whoever has the form.
    assert rollouts.reward_PG[:, :3].tolist() == [[0.0] * 3] * 2
    silent = rollouts.gain_PG[:, 6:] / 10 - 0.5 * 2 / 8
    torch.testing.assert_close(rollouts.reward_PG[:, 6:], silent)
    assert (rollouts.gain_PG[:, 6:] != 0).all()


def test_items_of_a_version_that_is_silent_on_queries_have_two_actions(trainer, pairs):
    rollouts = trainer().objective.sampler.sample(pairs[:2], "item", seed="a")
    assert rollouts.action_PG.tolist() == [[0] * 4 + [1] * 4] * 2
    assert rollouts.gate_PA.shape == (2, 2)


def test_without_forcing_the_policy_draws_among_three(trainer, pairs):
    drawing = trainer(forces_both=False, num_generations=64)
    rollouts = drawing.objective.sampler.sample(pairs, "query", seed="a")
    p_PA = torch.softmax(rollouts.gate_PA, dim=-1)
    expected = p_PA.gather(1, rollouts.action_PG).log()
    torch.testing.assert_close(rollouts.gate_logprob_PG, expected)
    # Of 640 draws; four standard deviations are at most 4 sqrt(0.25 / 640).
    for action in range(3):
        share = (rollouts.action_PG == action).float().mean().item()
        assert share == pytest.approx(p_PA[:, action].mean().item(), abs=0.08)


@pytest.mark.parametrize(
    ("best", "estimator"), [*((one, "grpo") for one in ACTIONS), ("silent", "closed_form")]
)
def test_the_gate_learns_which_of_three_pays(trainer, best, estimator):
    learner = trainer(
        num_generations=4,
        sides=("query",),
        estimator=estimator,
        learning_rate=2e-3,
        warmup_steps=1,
        replay_weight=0.0,
    )
    sample = learner.objective.sampler.sample

    def judged_by_decree(batch, side, *, seed):
        rollouts = sample(batch, side, seed=seed)
        return replace(rollouts, reward_PG=(rollouts.action_PG == ACTIONS.index(best)).float())

    learner.objective.sampler.sample = judged_by_decree
    for step in range(8):
        logged = learner.step(step)
    reason, silent = (logged[f"query/{one}_probability"] for one in ("reason", "silent"))
    shares = {"direct": 1 - reason - silent, "reason": reason, "silent": silent}
    assert shares[best] > 0.8
    assert logged["query/silent_frac"] == (best == "silent")


def test_what_three_actions_need_is_asked_for(trainer):
    with pytest.raises(ValueError, match="num_generations must be at least 4"):
        trainer(num_generations=2)
    with pytest.raises(ValueError, match=r"rewards\.silent_tokens must be a number"):
        trainer(rewards=RewardConfig())
    trainer(rewards=RewardConfig(), sides=("item",))  # two actions need no price
