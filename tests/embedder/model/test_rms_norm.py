"""Tests for rms_norm.py: torch's own norm against transformers' operations and double precision."""

import pytest
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRMSNorm

from embedder.model.rms_norm import rms_norm

SIZE = 96


class Uncalled(Qwen3VLTextRMSNorm):
    """A norm whose operations are not to be used."""

    def forward(self, hidden_states):
        raise AssertionError("transformers' operations were called")


@pytest.fixture
def states():
    return torch.randn(50, SIZE, generator=torch.Generator().manual_seed(0)) * 3


def weighted(kind, dtype):
    norm = kind(SIZE)
    norm.weight.data.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(1))
    return norm.to(dtype)


def exact(norm, states):
    states, weight = states.double(), norm.weight.double()
    return states / (states.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt() * weight


@torch.no_grad()
def test_in_float32_it_is_transformers_own_result(states):
    theirs = weighted(Qwen3VLTextRMSNorm, torch.float32)(states)
    ours = rms_norm(weighted(Uncalled, torch.float32), states)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@torch.no_grad()
def test_in_bfloat16_it_is_no_further_from_the_exact_result_than_theirs(states):
    states, norm = states.bfloat16(), weighted(Uncalled, torch.bfloat16)
    expected = exact(norm, states)
    ours = (rms_norm(norm, states) - expected).abs()
    theirs = (weighted(Qwen3VLTextRMSNorm, torch.bfloat16)(states) - expected).abs()
    assert ours.mean() < theirs.mean()
    assert (ours <= expected.abs() * 2**-8).all()  # half a step of the 8 bits that it keeps


def test_where_a_gradient_may_be_asked_for_transformers_operations_are_kept(states):
    with pytest.raises(AssertionError, match="were called"):
        rms_norm(weighted(Uncalled, torch.float32), states)


@torch.no_grad()
def test_under_autocast_they_are_kept_for_their_result_is_float32(states):
    norm = weighted(Qwen3VLTextRMSNorm, torch.float32)
    assert rms_norm(norm, states.bfloat16()).dtype == torch.float32


@torch.no_grad()
def test_a_module_of_another_formula_is_called(states):
    torch.testing.assert_close(rms_norm(torch.nn.Identity(), states), states, atol=0, rtol=0)
