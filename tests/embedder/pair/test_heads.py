"""Tests for embedder/pair/heads.py."""

import pytest
import torch

from embedder.pair.heads import Head


def test_features_are_centred_and_scaled_by_their_common_deviation():
    """A head of other statistics is one that was given other features."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 3, generator=generator) * torch.tensor([1.0, 2.0, 0.1]) + 5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = Head(3, 4, 2)
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    expected = head((features - mean) / (features - mean).square().mean().sqrt())
    head.centre(mean, deviation)
    torch.testing.assert_close(head(features), expected, atol=1e-5, rtol=1e-5)


def test_features_that_are_all_the_same_are_refused():
    with pytest.raises(ValueError, match="features must differ between contents"):
        Head(3, 4, 2).centre(torch.ones(3), torch.zeros(3))
