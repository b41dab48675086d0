"""Tests for embedder/finetune/gate/rewards.py: by hand."""

import math

import pytest
import torch

from embedder.finetune.gate.config import RewardConfig
from embedder.finetune.gate.rewards import Similarities, rank_rewards, utility_rewards


def similarities(own, others, is_negative):
    return Similarities(torch.tensor(own), torch.tensor(others), torch.tensor(is_negative))


def test_a_margin_is_the_cosine_less_a_soft_maximum_of_the_negatives():
    given = similarities([0.9], [[0.9, 0.5, 0.3]], [[False, True, True]])
    config = RewardConfig(score_temperature=0.1)
    expected = 0.9 - 0.1 * math.log(math.exp(5) + math.exp(3))
    assert given.scores(config).item() == pytest.approx(expected, rel=1e-6)
    assert given.scores(RewardConfig(score="cosine")).item() == pytest.approx(0.9)


def test_a_margin_does_not_change_when_all_cosines_rise_and_a_cosine_does():
    low = similarities([0.5], [[0.2, 0.1]], [[True, True]])
    high = similarities([0.7], [[0.4, 0.3]], [[True, True]])
    margin, cosine = RewardConfig(), RewardConfig(score="cosine")
    assert high.scores(margin).item() == pytest.approx(low.scores(margin).item())
    assert high.scores(cosine).item() > low.scores(cosine).item()


def test_without_negatives_the_margin_is_to_the_lowest_cosine():
    given = similarities([0.5], [[0.5]], [[False]])
    assert given.scores(RewardConfig()).item() == 1.5


def test_rank_is_rewarded_by_the_distance_to_the_negatives_when_the_partner_is_nearest():
    given = similarities(
        [0.8, 0.4],
        [[0.8, 0.6, 0.2], [0.4, 0.6, 0.2]],
        [[False, True, True], [False, True, True]],
    )
    assert rank_rewards(given).tolist() == pytest.approx([0.8 - 0.4, 0.0])


def test_utility_is_the_gain_less_its_words_and_for_direct_what_reasoning_has_lost():
    config = RewardConfig(gain_scale=0.2, token_cost=0.5)
    rewards = utility_rewards(
        torch.tensor([[0.0, 0.0, 0.1, -0.04], [0.0, 0.0, 0.9, 0.5]]),
        torch.tensor([[False, False, True, True]] * 2),
        torch.tensor([[1.0, 1.0, 4.0, 8.0]] * 2),
        config,
        max_new_tokens=16,
    )
    # Gains 0.1 and -0.04 are worth 0.5 and -0.2; 4 and 8 of 16 tokens cost 0.125 and 0.25. Their
    # mean, 0.03, is worth -0.15 to a direct answer. Gains beyond 0.2 are worth 1.
    expected = [[-0.15, -0.15, 0.375, -0.45], [-1.0, -1.0, 0.875, 0.75]]
    torch.testing.assert_close(rewards, torch.tensor(expected))


def test_a_group_without_rationales_has_nothing_to_compare_with():
    rewards = utility_rewards(
        torch.zeros(1, 2),
        torch.zeros(1, 2, dtype=torch.bool),
        torch.ones(1, 2),
        RewardConfig(),
        max_new_tokens=8,
    )
    assert rewards.tolist() == [[0.0, 0.0]]


def test_scales_that_are_not_positive_are_refused():
    with pytest.raises(ValueError, match="gain_scale must be > 0, got 0"):
        RewardConfig(gain_scale=0)
