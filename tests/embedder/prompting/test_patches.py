"""Tests for embedder/prompting/patches.py against transformers' own image processor."""

import numpy as np
import pytest
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from embedder.nano.architecture import build_image_processor
from embedder.prompting.patches import PatchCutter

PROCESSORS = {
    "nano": build_image_processor(),
    "qwen": Qwen2VLImageProcessorPil(  # other sizes, and colours that are normalised unequally
        patch_size=14,
        merge_size=2,
        size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 80},
        image_mean=[0.48, 0.46, 0.41],
        image_std=[0.27, 0.26, 0.28],
    ),
}


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
@pytest.mark.parametrize("size", [(96, 96), (1, 1), (640, 480), (30, 500)])
def test_patches_and_grid_equal_the_processors(processor, size):
    image = Image.effect_noise(size, 80).convert("RGB")
    image = Image.blend(image, Image.new("RGB", size, "orange"), 0.3)
    expected = processor(images=[image], return_tensors="np")
    cutter = PatchCutter(processor)
    patches, grid = cutter.cut(image)
    assert list(grid) == expected["image_grid_thw"][0].tolist()
    np.testing.assert_allclose(
        cutter.with_frames(patches), expected["pixel_values"], atol=1e-6, rtol=0
    )
