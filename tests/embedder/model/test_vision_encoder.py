"""Tests for embedder/model/vision_encoder.py against transformers' own vision encoder."""

import numpy as np
import pytest
import torch

from embedder.prompting.prompts import Motion

GRIDS = [
    [(1, 6, 6)],
    [(1, 4, 4), (1, 4, 4), (1, 8, 4)],
    [(1, 4, 8), (1, 6, 6), (1, 4, 8)],
]


@pytest.mark.parametrize("grids", GRIDS)
def test_features_equal_those_of_transformers(backbone, grids):
    generator = torch.Generator().manual_seed(0)
    num_patches = sum(int(np.prod(grid)) for grid in grids)
    patches = torch.randn(num_patches, 3 * 16 * 16, generator=generator)
    both_frames = patches.view(-1, 3, 1, 256).expand(-1, 3, 2, 256).reshape(num_patches, -1)
    with torch.no_grad():
        features = backbone.images.encode(patches, grids)
        expected = backbone.model.model.visual(both_frames, grid_thw=torch.tensor(grids))
    # Untrained weights of 0.15 give features of up to some hundreds: compared relatively.
    torch.testing.assert_close(
        features.tokens_TH, expected.pooler_output, rtol=1e-5, atol=1e-5 * scale(expected)
    )
    for ours, theirs in zip(features.deepstack, expected.deepstack_features, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * scale(expected))


def scale(output):
    return output.pooler_output.abs().max().item()


def test_two_frames_that_differ_equal_transformers_beside_still_ones(backbone):
    grids = [(1, 4, 4), (1, 4, 8), (1, 4, 8)]
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(16 + 64, 3, 1, 256, generator=generator)
    second = first.clone()
    second[16:] = torch.randn(64, 3, 1, 256, generator=generator)
    motion = Motion(torch.arange(16, 80), (second - first)[16:].flatten(1))
    with torch.no_grad():
        features = backbone.images.encode(first.flatten(1), grids, motion)
        # Theirs takes the two moments for one video of four frames.
        both_frames = torch.cat([first, second], dim=2).flatten(1)
        expected = backbone.model.model.visual(
            both_frames, grid_thw=torch.tensor([(1, 4, 4), (2, 4, 8)])
        )
    torch.testing.assert_close(
        features.tokens_TH, expected.pooler_output, rtol=1e-5, atol=1e-5 * scale(expected)
    )
    for ours, theirs in zip(features.deepstack, expected.deepstack_features, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * scale(expected))
