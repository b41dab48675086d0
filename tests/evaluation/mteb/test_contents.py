"""Tests for evaluation/mteb/contents.py: mteb's batches as contents."""

import numpy as np
import pytest
from PIL import Image

from embedder.prompting.images import open_image
from evaluation.mteb.contents import contents


def test_every_row_becomes_a_content_of_what_it_has():
    red = Image.new("RGB", (4, 4), "red")
    batches = [
        {"id": ["a", "b"], "text": ["kite", ""], "image": [None, red]},
        {"text": ["boat"]},
        {"image": [red, red]},
    ]
    got = list(contents(batches))
    assert [content.text for content in got] == ["kite", "", "boat", "", ""]
    assert [content.image is None for content in got] == [True, False, True, False, False]


def test_contents_without_text_and_image_are_refused():
    with pytest.raises(ValueError, match=r"text or image, got the columns \['audio', 'id'\]"):
        list(contents([{"id": ["a"], "audio": [b""]}]))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_an_encoder_reads_the_pixels_that_mteb_decoded(mode):
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert(mode)
    [content] = contents([{"image": [image]}])
    assert np.array_equal(open_image(content.image), image.convert("RGB"))
