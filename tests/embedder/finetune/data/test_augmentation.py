"""Tests for embedder/finetune/data/augmentation.py."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from embedder.content import Content
from embedder.finetune.data.augmentation import Augmentation

STILL = {"flip_probability": 0.0, "max_shift": 0.0, "max_zoom": 0.0, "word_dropout": 0.0}


class Utmost(random.Random):
    """Draws the upper end of every range."""

    def uniform(self, a, b):
        return b


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def read(content):
    return np.asarray(Image.open(io.BytesIO(content.image)))


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)


def test_nothing_to_vary_leaves_every_pixel_and_word(pixels):
    varied = Augmentation(**STILL)(Content("a red mug", png(pixels)), random.Random(0))
    assert varied.text == "a red mug"
    np.testing.assert_array_equal(read(varied), pixels)


def test_a_flip_mirrors_left_and_right(pixels):
    flip = Augmentation(**STILL | {"flip_probability": 1.0})
    varied = flip(Content(image=png(pixels)), random.Random(0))
    np.testing.assert_array_equal(read(varied), pixels[:, ::-1])


def test_a_shift_is_a_fraction_of_each_side_and_lays_the_rest_on_white(pixels):
    shift = Augmentation(**STILL | {"max_shift": 0.25})
    moved = read(shift(Content(image=png(pixels)), Utmost()))
    # A quarter of 16 x 8 is 4 x 2: what was there at (y + 2, x + 4) is now at (y, x).
    np.testing.assert_array_equal(moved[:6, :12], pixels[2:, 4:])
    assert (moved[6:] == 255).all()
    assert (moved[:, 12:] == 255).all()


def test_a_zoom_keeps_the_middle_in_place():
    square = np.full((40, 40, 3), 255, np.uint8)
    square[10:30, 10:30] = 0
    zoom = Augmentation(**STILL | {"max_zoom": 1.0})
    small = read(zoom(Content(image=png(square)), Utmost()))
    # Twice as far out: the square of 20 is one of 10 around the same middle.
    dark = small[:, :, 0] < 128
    assert dark.sum() == 100
    assert dark[15:25, 15:25].all()


def test_left_out_words_leave_the_others_in_order_and_never_nothing():
    words = [str(n) for n in range(200)]
    drop = Augmentation(**STILL | {"word_dropout": 0.5})
    kept = drop(Content(" ".join(words)), random.Random(0)).text.split(" ")
    assert kept == [word for word in words if word in set(kept)]
    assert 70 < len(kept) < 130  # within 4 standard deviations of 100
    all_dropped = Augmentation(**STILL | {"word_dropout": 1.0})
    assert all_dropped(Content("a red mug"), random.Random(0)).text in {"a", "red", "mug"}


def test_a_content_keeps_what_it_lacks_and_equal_seeds_vary_alike(pixels):
    vary = Augmentation()
    assert vary(Content("mug"), random.Random(0)) == Content("mug")
    image = Content(image=png(pixels))
    assert vary(image, random.Random(1)) == vary(image, random.Random(1))
    assert vary(image, random.Random(1)) != vary(image, random.Random(2))


def test_a_fraction_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"word_dropout must be in \[0, 1\], got 2"):
        Augmentation(word_dropout=2)
