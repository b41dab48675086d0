"""Tests for embedder/prompting/rotary.py against transformers' own rope index."""

import numpy as np
import pytest

from embedder.content import Content
from embedder.prompting.rotary import rotary_positions


@pytest.mark.parametrize("text", ["", "3 red mugs", "kites " * 20])
@pytest.mark.parametrize("with_image", [False, True])
def test_positions_equal_those_of_transformers(inputs, backbone, image, text, with_image):
    sample = inputs.sample(Content(text, image if with_image else None), "find the item")
    expected = backbone.positions(inputs.batch([sample]))[:, 0].numpy()
    prompts = inputs.prompts([sample], device=backbone.device)
    np.testing.assert_array_equal(prompts.positions_3BL[:, 0].numpy(), expected)


def test_after_a_wide_image_words_go_on_behind_its_longer_side():
    positions = rotary_positions(10, image_start=2, image_shape=(1, 2, 3))
    # two words, six image tokens (two rows of three), two words from 2 + max(2, 3) on
    np.testing.assert_array_equal(
        positions,
        [
            [0, 1, 2, 2, 2, 2, 2, 2, 5, 6],
            [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
            [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
        ],
    )
