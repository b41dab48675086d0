"""Tests for embedder/prompting/rotary.py against transformers' own rope index."""

import numpy as np
import pytest

from embedder.content import Content
from embedder.prompting.rotary import rotary_positions
from embedder.prompting.sample import Sample


@pytest.mark.parametrize("text", ["", "3 red mugs", "kites " * 20])
@pytest.mark.parametrize("with_image", [False, True])
def test_positions_equal_those_of_transformers(inputs, backbone, image, text, with_image):
    sample = inputs.sample(Content(text, image if with_image else None), "find the item")
    assert_positions_of_transformers(sample, inputs, backbone)


def test_positions_go_on_from_one_image_to_the_next(inputs, backbone, image, wide_image):
    """A prompt with two images of two shapes, with text between them and behind."""
    first, second = (inputs.sample(Content("kites", one), "find") for one in (image, wide_image))
    assert first.grids != second.grids
    sample = Sample(
        [*first.tokens, *second.tokens],
        np.concatenate([first.patches_PV, second.patches_PV]),
        (*first.grids, *second.grids),
    )
    assert_positions_of_transformers(sample, inputs, backbone)


def assert_positions_of_transformers(sample, inputs, backbone):
    batch = inputs.batch([sample])
    expected, _ = backbone.model.model.get_rope_index(
        batch.input_ids_BL,
        mm_token_type_ids=batch.image_mask_BL,
        image_grid_thw=batch.grids,
        attention_mask=batch.attention_mask_BL,
    )
    prompts = inputs.prompts([sample], device=backbone.device)
    np.testing.assert_array_equal(prompts.positions_3BL[:, 0].numpy(), expected[:, 0].numpy())


def test_after_a_wide_image_text_goes_on_behind_its_longer_side():
    positions = rotary_positions(10, images=[(2, (1, 2, 3))])
    # two tokens of text, six of the image (two rows of three), two from 2 + max(2, 3) on
    np.testing.assert_array_equal(
        positions,
        [
            [0, 1, 2, 2, 2, 2, 2, 2, 5, 6],
            [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
            [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
        ],
    )
