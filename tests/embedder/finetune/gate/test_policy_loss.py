"""Tests for policy_loss.py: arithmetic, torch's distributions, and TRL's own code."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from embedder.finetune.gate.policy_loss import (
    clipped_gain,
    expected_gain,
    gate_divergence,
    gate_logprobs,
    group_advantages,
    k3,
)

REASON, DIRECT = torch.tensor([[True]]), torch.tensor([[False]])


def test_advantages_are_deviations_in_the_groups_own_unit():
    # Mean 2, deviations -1, 0, 1; variance (1 + 0 + 1) / 2 = 1.
    advantages = group_advantages(torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    expected = torch.tensor([[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(advantages, expected / 1.0001)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        (1.1, 2.0, 2.2, 2.2),  # within the bounds: r A, and d(r A)/d logprob = r A
        (1.5, 2.0, 1.28 * 2, 0.0),  # too good already: cut off
        (0.5, 2.0, 1.0, 1.0),  # a good token made rarer is pulled back
        (0.5, -2.0, 0.8 * -2, 0.0),
        (1.5, -2.0, -3.0, -3.0),
    ],
)
def test_a_ratio_is_clipped_only_where_it_has_gone_far_enough(ratio, advantage, expected, slope):
    logprob = torch.tensor([math.log(ratio * 0.4)], requires_grad=True)
    gain = clipped_gain(
        logprob,
        torch.tensor([math.log(0.4)]),
        torch.tensor([advantage]),
        clip_low=0.2,
        clip_high=0.28,
    )
    gain.sum().backward()
    assert gain.item() == pytest.approx(expected, rel=1e-5)
    assert logprob.grad.item() == pytest.approx(slope, rel=1e-5)


def test_k3_is_0_for_equal_probabilities_and_its_mean_under_the_policy_is_the_divergence():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    estimates = k3(policy.log(), reference.log())
    divergence = (policy * (policy / reference).log()).sum()
    torch.testing.assert_close((policy * estimates).sum(), divergence)
    assert k3(policy.log(), policy.log()).abs().max() == 0
    assert (estimates > 0).all()


def test_the_gates_divergence_is_that_of_two_categorical_distributions():
    gates, references = torch.randn(5, 2), torch.randn(5, 2)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=gates),
        torch.distributions.Categorical(logits=references),
    )
    torch.testing.assert_close(gate_divergence(gates, references), expected)


def test_the_expected_gain_has_the_gradient_that_calculus_gives():
    gate = torch.tensor([[0.3, 1.1]], requires_grad=True)
    expected_gain(gate, torch.tensor([0.4])).sum().backward()
    p = 1 / (1 + math.exp(-0.8))
    assert gate.grad[0].tolist() == pytest.approx([-p * (1 - p) * 0.4, p * (1 - p) * 0.4])


def rewards_of(reasons, generator):
    """Reasoning earns 0.7 on average, a direct answer 0.3; both are noisy."""
    noise = torch.randn(reasons.shape, generator=generator)
    return torch.where(reasons, 0.7, 0.3) + 0.5 * noise


@pytest.mark.parametrize("forced", [True, False])
def test_the_sampled_gradient_is_the_closed_form_in_expectation(forced):
    """20,000 groups of 8; the baseline of a group includes the rollout, which scales by 7/8."""
    generator = torch.Generator().manual_seed(0)
    gate = torch.tensor([[0.2, -0.6]], requires_grad=True)
    gates = gate.expand(20_000, 2)
    if forced:
        reasons = torch.arange(8).expand(20_000, 8) >= 4
    else:
        p = torch.softmax(gate.detach(), dim=-1)[0, 1]
        reasons = torch.rand(20_000, 8, generator=generator) < p
    logprobs = gate_logprobs(gates, reasons)
    drawn_from = torch.full_like(logprobs, math.log(0.5)) if forced else logprobs.detach()
    rewards = rewards_of(reasons, generator)
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    clipped_gain(
        logprobs, drawn_from, advantages, clip_low=1.0, clip_high=math.inf
    ).mean().backward()
    sampled = gate.grad.clone()
    gate.grad = None
    expected_gain(gates, torch.full((20_000,), 0.4)).mean().backward()
    # Forced, the baseline is as often one action's as the other's, and cancels. Drawn, 1/8 of the
    # baseline is the rollout's own reward. Standard error: 0.5 / sqrt(160,000) = 0.00125.
    share = 1.0 if forced else 7 / 8
    torch.testing.assert_close(sampled, share * gate.grad, atol=0.005, rtol=0)
    assert gate.grad[0, 1] > 0.08


def test_clipping_the_gates_ratio_to_one_half_would_stop_it_at_064():
    for probability, moves in ((0.6, True), (0.65, False)):
        gate = torch.tensor([[0.0, math.log(probability / (1 - probability))]], requires_grad=True)
        gains = [
            clipped_gain(
                gate_logprobs(gate, reasons),
                torch.tensor(math.log(0.5)),
                torch.tensor(advantage),
                clip_low=0.2,
                clip_high=0.28,
            ).sum()
            for reasons, advantage in ((REASON, 1.0), (DIRECT, -1.0))
        ]
        torch.stack(gains).sum().backward()
        assert bool(gate.grad.abs().max() > 0) == moves


def test_loss_is_trls_dr_grpo():
    """Needs `pip install trl`; run with 1.16.0."""
    trainer = pytest.importorskip("trl.trainer.grpo_trainer", reason="trl is not installed")
    generator = torch.Generator().manual_seed(1)
    shape = (6, 5)
    logprobs, old, reference = (-torch.rand(shape, generator=generator) for _ in range(3))
    mask = (torch.rand(shape, generator=generator) < 0.8).float()
    rewards = torch.randn(2, 3, generator=generator)
    advantages = group_advantages(rewards).flatten()
    fake = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (
            logprobs,
            torch.zeros(shape),
            None,
        ),
        **dict.fromkeys(("aux_loss_enabled", "use_vllm", "_entropy_bonus_enabled"), False),
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=0.04,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        epsilon_low=0.2,
        epsilon_high=0.28,
        loss_type="dr_grpo",
        max_completion_length=64,
        current_gradient_accumulation_steps=1,
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(reduce=lambda x, reduction: x, gather=lambda x: x),
        _metrics={"train": defaultdict(list)},
    )
    ids = torch.zeros(shape, dtype=torch.long)
    inputs = {
        **{"prompt_ids": ids, "prompt_mask": ids, "completion_ids": ids, "completion_mask": mask},
        **{"advantages": advantages, "old_per_token_logps": old},
        "ref_per_token_logps": reference,
    }
    theirs = trainer.GRPOTrainer._compute_loss(fake, None, inputs)
    gains = clipped_gain(logprobs, old, advantages[:, None], clip_low=0.2, clip_high=0.28)
    ours = -((gains - 0.04 * k3(logprobs, reference)) * mask).sum() / (6 * 64)
    torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-5)
    deviations = trainer.nanstd(rewards, dim=1)
    expected = (rewards - rewards.mean(dim=1, keepdim=True)) / (deviations[:, None] + 1e-4)
    torch.testing.assert_close(advantages, expected.flatten())
