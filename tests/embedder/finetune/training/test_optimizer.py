"""Tests for optimizer.py: the schedule of the rate, and the moving average."""

import pytest
import torch

from embedder.finetune.training.optimizer import AveragedAdamW, cosine_rate


@pytest.mark.parametrize(("step", "share"), [(0, 0.25), (3, 1.0), (4, 1.0), (12, 0.5), (20, 0.0)])
def test_the_rate_warms_up_and_follows_a_cosine_to_zero(step, share):
    rate = cosine_rate(step, peak=2e-3, warmup_steps=4, num_steps=20)
    assert rate == pytest.approx(2e-3 * share, abs=1e-12)


@pytest.mark.parametrize(("step", "rate"), [(4, 2e-3), (12, 1.1e-3), (20, 2e-4)])
def test_the_cosine_ends_at_the_floor(step, rate):
    found = cosine_rate(step, peak=2e-3, warmup_steps=4, num_steps=20, floor=0.1)
    assert found == pytest.approx(rate, abs=1e-12)


def optimizer_of(weight, *, average_decay):
    return AveragedAdamW(
        [weight], weight_decay=0.0, average_decay=average_decay, max_gradient_norm=1.0
    )


def test_the_average_starts_at_the_weights_and_moves_by_a_share_of_the_distance():
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    optimizer = optimizer_of(weight, average_decay=0.75)
    expected = weight.detach().clone()
    assert torch.equal(optimizer.average[0], expected)
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        optimizer.step(0.1)
        expected = 0.75 * expected + 0.25 * weight.detach()
        torch.testing.assert_close(optimizer.average[0], expected)


def test_without_decay_the_average_is_the_last_weights():
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    optimizer = optimizer_of(weight, average_decay=0.0)
    weight.grad = torch.ones_like(weight)
    optimizer.step(0.1)
    assert torch.equal(optimizer.average[0], weight)


def test_weights_that_are_not_trained_have_no_average():
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    trained = torch.nn.Parameter(torch.ones(3))
    optimizer = AveragedAdamW(
        [frozen, trained], weight_decay=0.0, average_decay=0.5, max_gradient_norm=1.0
    )
    assert [tuple(tensor.shape) for tensor in optimizer.average] == [(3,)]
