"""Rewards of the gate's rollouts: their form, their rank, and what reasoning has gained.

MMEmb-R1 names a utility gap, the similarity with reasoning minus without, and a reward R_ada that
penalises needless reasoning; the formulas are not public, and those here are our reconstruction
(UME-R1's code has the reward of form and rank).

Shape legend: M = vectors to judge, N = candidates, D = embedding dimension, P = prompts,
  G = rollouts of each
"""

from dataclasses import dataclass

import torch

from embedder.finetune.gate.config import RewardConfig


@dataclass(frozen=True, slots=True)
class Similarities:
    """Cosines of vectors with what they should and should not be near."""

    own_M: torch.Tensor
    """With the partner."""

    others_MN: torch.Tensor
    """With candidates."""

    is_negative_MN: torch.Tensor
    """False where a candidate is right as well."""

    def scores(self, config: RewardConfig) -> torch.Tensor:
        """Return [M], `cos(own) - t log sum exp(cos(negative) / t)`, or `cos(own)` alone."""
        if config.score == "cosine":
            return self.own_M
        logits_MN = (self.others_MN / config.score_temperature).masked_fill(
            ~self.is_negative_MN, float("-inf")
        )
        soft_maximum_M = config.score_temperature * torch.logsumexp(logits_MN, dim=-1)
        return self.own_M - soft_maximum_M.clamp(min=-1)  # no cosine is lower; for no negatives


def rank_rewards(similarities: Similarities) -> torch.Tensor:
    """UME-R1's retrieval reward for one positive, [M]: 0 unless the partner is the nearest.

    The cosine with the partner minus the mean with negatives if the partner is the nearest: what is
    left for a single positive of the share of a query's positives among as many nearest candidates
    times the difference of the mean cosines.
    """
    negative_MN = similarities.others_MN.masked_fill(~similarities.is_negative_MN, float("-inf"))
    is_nearest_M = similarities.own_M > negative_MN.amax(dim=-1)
    number_M = similarities.is_negative_MN.sum(dim=-1).clamp(min=1)
    sum_M = (similarities.others_MN * similarities.is_negative_MN).sum(dim=-1)
    return is_nearest_M * (similarities.own_M - sum_M / number_M)


def utility_rewards(
    gain_PG: torch.Tensor,
    reasons_PG: torch.Tensor,
    num_tokens_PG: torch.Tensor,
    config: RewardConfig,
    *,
    max_new_tokens: int,
) -> torch.Tensor:
    """The adaptive reward R_ada, our reconstruction, [P, G] in [-1 - token_cost, 1].

    A rollout that reasons earns its gain and pays for its tokens; one that answers directly earns
    what reasoning has lost on average in its group. Both are cut off at `gain_scale`.

    Args:
        gain_PG: score of the rollout minus that of the direct answer.
        reasons_PG: True where the rollout reasons.
        num_tokens_PG: tokens behind the gate.
        config: scale and cost.
        max_new_tokens: tokens that a rationale may have.
    """
    number_P = reasons_PG.sum(dim=1).clamp(min=1)
    mean_gain_P = (gain_PG * reasons_PG).sum(dim=1) / number_P
    reasoned_PG = (gain_PG / config.gain_scale).clamp(-1, 1)
    reasoned_PG = reasoned_PG - config.token_cost * num_tokens_PG / max_new_tokens
    direct_P = (-mean_gain_P / config.gain_scale).clamp(-1, 1)
    return torch.where(reasons_PG, reasoned_PG, direct_P[:, None])
