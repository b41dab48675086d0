"""Policy gradients for groups of rollouts (GRPO), and for two actions in closed form.

Advantages, clipped objective and k3 together are TRL's GRPO loss with `loss_type="dr_grpo"`; the
gate's divergence and the closed form are ours.

Shape legend: P = prompts, G = rollouts of each
"""

import torch
import torch.nn.functional as F


def group_advantages(reward_PG: torch.Tensor) -> torch.Tensor:
    """GRPO's advantages, [P, G]: a reward minus its group's mean, over the group's deviation.

    (Shao et al. 2024. The deviation is that of a sample, and 1e-4 is added to it, as in UME-R1's
    code and TRL.) 0 for a group whose rewards are all equal.
    """
    mean_P1 = reward_PG.mean(dim=1, keepdim=True)
    return (reward_PG - mean_P1) / (reward_PG.std(dim=1, keepdim=True) + 1e-4)


def clipped_gain(
    logprob: torch.Tensor,
    old_logprob: torch.Tensor,
    advantage: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> torch.Tensor:
    """PPO's clipped objective of each token: min(r A, clip(r, 1 - low, 1 + high) A).

    (Schulman et al. 2017; the two bounds as in DAPO, Yu et al. 2025.)

    Args:
        logprob: of the token under the policy.
        old_logprob: of the token under what it was drawn from, without a gradient.
        advantage: of the token's rollout.
        clip_low: >= 0.
        clip_high: >= 0.
    """
    ratio = torch.exp(logprob - old_logprob)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return torch.minimum(ratio * advantage, clipped * advantage)


def k3(logprob: torch.Tensor, reference_logprob: torch.Tensor) -> torch.Tensor:
    """KL estimator k3 to the reference, from tokens of the policy, >= 0 each.

    (Schulman 2020, "Approximating KL divergence", its third estimator, as in GRPO.)
    """
    log_ratio = reference_logprob - logprob
    return torch.exp(log_ratio) - log_ratio - 1


def gate_logprobs(gate_P2: torch.Tensor, reasons_PG: torch.Tensor) -> torch.Tensor:
    """Return [P, G], the log-probability of the action that each rollout takes.

    Args:
        gate_P2: logits of `direct` and `reason`.
        reasons_PG: True where the rollout reasons.
    """
    return F.log_softmax(gate_P2, dim=-1).gather(1, reasons_PG.long())


def gate_divergence(gate_P2: torch.Tensor, reference_P2: torch.Tensor) -> torch.Tensor:
    """KL divergence of the gate from the reference's, [P], in nats; two actions need no estimate.

    Args:
        gate_P2: logits.
        reference_P2: logits of the reference.
    """
    logprob_P2 = F.log_softmax(gate_P2, dim=-1)
    log_ratio_P2 = logprob_P2 - F.log_softmax(reference_P2, dim=-1)
    return (logprob_P2.exp() * log_ratio_P2).sum(dim=-1)


def expected_gain(gate_P2: torch.Tensor, utility_P: torch.Tensor) -> torch.Tensor:
    """Expected reward of the gate over never reasoning, [P]: p(reason) times the utility.

    With two actions the expectation is a sum of two terms, so its gradient needs no sampling of
    actions: p (1 - p) times the utility, for the difference of the two logits.

    Args:
        gate_P2: logits of `direct` and `reason`.
        utility_P: mean reward of reasoning minus the reward of answering directly.
    """
    return torch.softmax(gate_P2, dim=-1)[:, 1] * utility_P
