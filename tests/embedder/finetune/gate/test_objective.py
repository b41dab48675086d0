"""Tests for objective.py and rollouts.py: what is rewarded, what is learnt."""

import math
from dataclasses import replace

import pytest
import torch

from embedder.finetune.data.sampler import BatchSampler
from embedder.finetune.gate.config import GateConfig, RewardConfig
from embedder.finetune.gate.generate import is_well_formed
from embedder.finetune.gate.objective import gate_trainer
from embedder.finetune.records import TrainingExample, WeightedRationale
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.config import JointLossConfig
from embedder.finetune.training.joint_loss import JointLoss, SampledExample
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1


class Killed(Exception):
    """Stands for the end of the process."""


def config(**changes):
    return GateConfig(
        **{"num_steps": 4, "batch_size": 4, "num_generations": 4, "average_decay": 0.0} | changes
    )


@pytest.fixture
def trainer(fresh, pairs):
    def made(**changes):
        checkpoint = fresh()
        short = replace(checkpoint.manifest, max_new_tokens=8)
        examples = [TrainingExample(pair) for pair in pairs]
        return gate_trainer(replace(checkpoint, manifest=short), examples, config(**changes))

    return made


def test_half_of_each_group_is_direct_and_was_drawn_with_one_half(trainer, pairs):
    rollouts = trainer().objective.sampler.sample(pairs[:3], "query", seed="a")
    assert rollouts.reasons_PG.tolist() == [[False, False, True, True]] * 3
    assert rollouts.answer_PG.tolist() == [[0, 0, 1, 2], [3, 3, 4, 5], [6, 6, 7, 8]]
    torch.testing.assert_close(
        rollouts.gate_logprob_PG, torch.full((3, 4), math.log(0.5)), rtol=0, atol=0
    )


def test_without_forcing_the_policy_draws_and_its_own_probability_counts(trainer, pairs):
    drawing = trainer(forces_both=False, num_generations=8)
    rollouts = drawing.objective.sampler.sample(pairs, "query", seed="a")
    p = torch.softmax(rollouts.gate_P2, dim=-1)[:, 1:]
    expected = torch.where(rollouts.reasons_PG, p, 1 - p).log()
    torch.testing.assert_close(rollouts.gate_logprob_PG, expected)
    # Of 80 draws; four standard deviations are at most 4 sqrt(0.25 / 80).
    assert rollouts.reasons_PG.float().mean() == pytest.approx(p.mean().item(), abs=0.23)


@pytest.mark.parametrize("forces_both", [True, False])
def test_what_is_drawn_for_a_content_does_not_depend_on_its_batch(trainer, pairs, forces_both):
    sampler = trainer(forces_both=forces_both).objective.sampler
    together = sampler.sample(pairs[:4], "query", seed="a")
    alone = sampler.sample(pairs[2:3], "query", seed="a")
    assert alone.prompted[0].answers == together.prompted[2].answers
    again = sampler.sample(pairs[:4], "query", seed="b")
    assert [one.answers for one in again.prompted] != [one.answers for one in together.prompted]


@pytest.mark.parametrize("side", ["query", "item"])
def test_gains_are_scores_against_the_embedders_own_vectors(
    trainer, fresh, pairs, plain_forward, side
):
    """Plain cosines, so that the expected values need nothing but encodings."""
    plain = RewardConfig(form=0.0, rank=0.0, score="cosine", token_cost=0.0, gain_scale=10.0)
    rollouts = trainer(rewards=plain).objective.sampler.sample(pairs[:4], side, seed="a")
    checkpoint = fresh()
    ids, backbone = checkpoint.inputs, checkpoint.backbone
    model = MMEmbR1(checkpoint, EmbedderConfig(policy="never"))
    queries = model.encode_query([pair.query for pair in pairs[:4]])
    targets = model.encode_items([pair.target for pair in pairs[:4]])
    own, partners = (queries, targets) if side == "query" else (targets, queries)
    for row, prompted in enumerate(rollouts.prompted):
        partner = torch.from_numpy(partners[row].vector)
        direct = torch.from_numpy(own[row].vector) @ partner
        gains = []
        for answer in prompted.answers[1:]:
            states, _ = plain_forward(prompted.sample, answer, backbone, ids)
            state = states[-1]
            gains.append((state / state.norm() @ partner - direct).item())
        expected = [0.0, 0.0, *gains]
        assert rollouts.gain_PG[row].tolist() == pytest.approx(expected, abs=1e-5)
        mean = sum(gains) / len(gains)
        has_form = [is_well_formed(a, ids, max_new_tokens=8) for a in prompted.answers[1:]]
        earned = [g / 10 * ok for g, ok in zip(gains, has_form, strict=True)]
        worth = [-mean / 10, -mean / 10, *earned]
        assert rollouts.reward_PG[row].tolist() == pytest.approx(worth, abs=1e-5)


def test_a_rationale_without_form_earns_nothing(trainer, fresh, pairs):
    """Untrained weights hardly ever write one summary and end within 8 tokens."""
    rollouts = trainer().objective.sampler.sample(pairs, "query", seed="a")
    summary = fresh().inputs.summary_id
    answers = [a for one in rollouts.prompted for a in one.answers[1:]]
    broken = torch.tensor([a.count(summary) != 1 or len(a) == 9 for a in answers]).view(10, 2)
    assert broken.any()
    assert (rollouts.reward_PG[:, 2:][broken] == 0).all()
    assert (rollouts.reward_PG[:, :2] > 0).all()


@pytest.mark.parametrize("estimator", ["grpo", "closed_form"])
@pytest.mark.parametrize("pays", [True, False])
def test_the_gate_opens_where_reasoning_pays_and_closes_where_it_costs(
    trainer, pairs, estimator, pays
):
    learner = trainer(
        num_steps=12, sides=("query",), estimator=estimator, learning_rate=1e-3, replay_weight=0.0
    )
    rolled_out = learner.objective.sampler.sample

    def judged_by_decree(batch, side, *, seed):
        rollouts = rolled_out(batch, side, seed=seed)
        return replace(rollouts, reward_PG=(rollouts.reasons_PG == pays).float())

    learner.objective.sampler.sample = judged_by_decree
    seen = [learner.step(step)["query/reason_probability"] for step in range(12)]
    assert seen[-1] > 0.8 if pays else seen[-1] < 0.2


def test_what_is_minimised_is_the_policy_gradient_of_the_advantages(trainer, pairs):
    """One token of one rationale that was better than its group: its probability must rise."""
    learner = trainer(train_tokens=True, kl_weight=0.0)
    rollouts = learner.objective.sampler.sample(pairs[:1], "query", seed="a")
    rollouts = replace(rollouts, reward_PG=torch.tensor([[0.0, 0.0, 1.0, 0.5]]))
    losses = learner.objective.losses(rollouts)
    num_tokens = [len(answer) - 1 for answer in rollouts.prompted[0].answers[1:]]
    # At the weights that drew the tokens every ratio is 1, so the loss is the mean advantage.
    # Mean 0.375, so the deviations are -0.375 twice, 0.625 and 0.125.
    unit = ((2 * 0.375**2 + 0.625**2 + 0.125**2) / 3) ** 0.5 + 1e-4
    advantages = [0.625 / unit, 0.125 / unit]
    expected = -sum(n * a for n, a in zip(num_tokens, advantages, strict=True)) / (4 * 8)
    assert losses["tokens"].item() == pytest.approx(expected, rel=1e-4)
    p = torch.softmax(rollouts.gate_P2, dim=-1)[0]
    gate = (2 * -0.375 / unit * p[0] + sum(advantages) * p[1]) / 0.5 / 4
    assert losses["gate"].item() == pytest.approx(-gate.item(), rel=1e-4)


def test_the_reference_stays_where_the_training_started(trainer, pairs):
    learner = trainer(learning_rate=1e-2, warmup_steps=0)
    before = learner.objective.sampler.sample(pairs[:2], "item", seed="a")
    learner.step(0)
    after = learner.objective.sampler.sample(pairs[:2], "item", seed="a")
    assert torch.equal(before.reference_P2, after.reference_P2)
    torch.testing.assert_close(before.gate_P2, before.reference_P2, atol=1e-5, rtol=0)
    assert not torch.allclose(after.gate_P2, after.reference_P2, atol=1e-3)


def test_a_killed_training_ends_with_the_same_weights_and_log(trainer, tmp_path):
    whole = trainer(train_tokens=True).train(tmp_path / "whole", save_every=2, stage="gate")
    killed = trainer(train_tokens=True)
    step = killed.step

    def step_or_die(number):
        if number == 3:
            raise Killed
        return step(number)

    killed.step = step_or_die
    with pytest.raises(Killed):
        killed.train(tmp_path / "killed", save_every=2, stage="gate")
    resumed = trainer(train_tokens=True).train(tmp_path / "killed", save_every=2, stage="gate")
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert "gate/query/reason_frac" in (tmp_path / "killed" / "log.jsonl").read_text()


def test_every_update_of_a_step_learns_from_the_same_rollouts(trainer):
    learner = trainer(num_updates=3, sides=("query",), learning_rate=1e-3, warmup_steps=0)
    rolled_out, made, learnt = learner.objective.sampler.sample, [], []

    def counted(batch, side, *, seed):
        made.append(rolled_out(batch, side, seed=seed))
        return made[-1]

    losses = learner.objective.losses
    learner.objective.sampler.sample = counted
    learner.objective.losses = lambda rollouts: learnt.append(rollouts) or losses(rollouts)
    learner.step(0)
    learner.step(1)
    assert [id(rollouts) for rollouts in learnt] == [id(made[n // 3]) for n in range(6)]


def test_a_config_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="num_generations must be even and at least 2, got 3"):
        config(num_generations=3)
    with pytest.raises(ValueError, match="closed form needs forces_both"):
        config(estimator="closed_form", train_tokens=True)


def test_what_joint_training_learnt_is_replayed_with_its_rationales(fresh, pairs):
    examples = [
        TrainingExample(pair, (WeightedRationale("red is warm", f"{pair.query_key}", 1.0),))
        for pair in pairs
    ]
    checkpoint, again = fresh(), fresh()
    short = replace(checkpoint.manifest, max_new_tokens=8)
    trainer = gate_trainer(replace(checkpoint, manifest=short), examples, config(replay_weight=0.5))
    logged = trainer.step(0)
    batch = BatchSampler(examples, batch_size=4, seed=0).at(0)
    again.backbone.requires_grad_(True)
    objective = JointLoss(
        CachedForward(again.backbone, again.inputs),
        short,
        JointLossConfig(
            direct_direct=0.5,
            reason_reason=0.0,
            reason_direct=0.5,
            direct_reason=0.5,
            next_token=0.5,
            false_negative_margin=None,
        ),
    )
    expected = objective.backward(
        [SampledExample(one.pair, one.query_rationales[0]) for one in batch]
    )
    assert set(expected) == {"direct_direct", "reason_direct", "next_token"}  # no item reasons
    replayed = {name: logged[f"replay/{name}"] for name in expected}
    assert replayed == pytest.approx(expected, rel=1e-5)


def test_without_weight_nothing_is_replayed(trainer):
    assert not any(name.startswith("replay") for name in trainer(replay_weight=0.0).step(0))
