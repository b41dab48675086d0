"""Tests for embedder/losses.py: closed-form values only."""

import math

import pytest
import torch

from embedder.losses import info_nce, matryoshka_info_nce


def unit_rows(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


def test_loss_is_log_batch_size_when_all_similarities_are_equal():
    same = unit_rows([1.0, 0.0], [1.0, 0.0], [1.0, 0.0])
    loss = info_nce(same, same, contrastive_temperature=0.1)
    torch.testing.assert_close(loss, torch.tensor(math.log(3)))


def test_loss_matches_hand_computed_value():
    eye = unit_rows([1.0, 0.0], [0.0, 1.0])
    # logits [[2, 0], [0, 2]] at T = 0.5: log(1 + e^-2) in both directions
    loss = info_nce(eye, eye, contrastive_temperature=0.5)
    torch.testing.assert_close(loss, torch.tensor(math.log1p(math.exp(-2.0))))


def test_both_directions_are_scored_and_averaged():
    query = unit_rows([1.0, 0.0], [1.0, 0.0])
    target = unit_rows([1.0, 0.0], [0.0, 1.0])
    # cosines [[1, 0], [1, 0]]. Queries: rows (1, 0) and (1, 0). Targets: columns (1, 1), (0, 0).
    queries = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    targets = math.log(2)
    loss = info_nce(query, target, contrastive_temperature=1.0)
    torch.testing.assert_close(loss, torch.tensor((queries + targets) / 2))


def test_a_false_negative_is_left_out_and_the_own_target_never_is():
    query = unit_rows([1.0, 0.0], [0.6, 0.8], [0.0, 1.0])
    everything = torch.ones(3, 3, dtype=torch.bool)
    loss = info_nce(query, query, contrastive_temperature=0.1, is_false_negative_BN=everything)
    assert loss.item() == 0.0


def test_targets_past_the_batch_are_negatives_only():
    query = unit_rows([1.0, 0.0])
    target = unit_rows([1.0, 0.0], [1.0, 0.0])
    # Query: log 2 against the extra target. Target: one query, nothing to contrast, 0.
    loss = info_nce(query, target, contrastive_temperature=1.0)
    torch.testing.assert_close(loss, torch.tensor(math.log(2) / 2))


def test_matryoshka_is_the_mean_over_normalised_prefixes():
    query = unit_rows([0.3, 0.4, 0.5], [0.1, -0.7, 0.2])
    target = unit_rows([0.2, 0.4, -0.5], [0.6, -0.1, 0.2])
    short = [torch.nn.functional.normalize(x[:, :2], dim=-1) for x in (query, target)]
    expected = (
        info_nce(*short, contrastive_temperature=0.2)
        + info_nce(query, target, contrastive_temperature=0.2)
    ) / 2
    loss = matryoshka_info_nce(query, target, dims=(2, 3), contrastive_temperature=0.2)
    torch.testing.assert_close(loss, expected)


def test_a_query_without_a_target_is_refused():
    with pytest.raises(ValueError, match="got 2 queries and 1 targets"):
        info_nce(torch.eye(2), torch.eye(2)[:1], contrastive_temperature=1.0)


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="must be > 0, got 0"):
        info_nce(torch.eye(2), torch.eye(2), contrastive_temperature=0)
