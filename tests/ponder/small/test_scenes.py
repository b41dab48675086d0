"""Tests for ponder/small's images: emoji, scenes of them, drawn goods."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from ponder.small.drawings import GOODS, PATTERNS, RGB, drawn_goods
from ponder.small.scenes import read_emoji, scenes


def test_every_emoji_of_the_train_split_comes_first_and_then_scenes_in_twos(emoji_folder):
    emoji = read_emoji(emoji_folder).emoji
    assert emoji[0].name == "apple"
    assert "egg" not in [one.name for one in emoji]
    made = list(scenes(emoji, 40, seed=0))
    assert [one.caption for one in made[:5]] == [one.name for one in emoji]
    assert len(made) == 45
    drawn = made[5:]
    assert all(drawn[n].caption != drawn[n + 1].caption for n in range(0, 40, 2))
    assert not any("skin tone" in one.caption for one in drawn)
    assert made == list(scenes(emoji, 40, seed=0))
    for one in made:
        Image.open(io.BytesIO(one.image)).verify()


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold items\.parquet"):
        read_emoji(tmp_path)


@pytest.mark.parametrize("name", GOODS)
def test_goods_have_the_colour_that_they_are_said_to_have(name):
    rng = random.Random(0)
    for colour in ("red", "navy blue", "turquoise"):
        fill = PATTERNS["plain"]((96, 96), RGB[colour], rng)
        image = np.asarray(drawn_goods(name, (96, 96), fill, rng), dtype=float)
        shown = image[(image < 255).any(axis=2)]
        assert 0.02 < len(shown) / 96**2 < 0.8
        ratio = shown.mean(axis=0) / np.array(RGB[colour])
        np.testing.assert_allclose(ratio, ratio.mean(), atol=0.1)
        assert 0.8 < ratio.mean() < 1.2


@pytest.mark.parametrize("look", [look for look in PATTERNS if look != "plain"])
def test_a_pattern_has_two_colours_and_plain_has_one(look):
    rng = random.Random(0)
    plain = PATTERNS["plain"]((64, 64), RGB["blue"], rng)
    area = PATTERNS[look]((64, 64), RGB["blue"], rng)
    assert len(plain.getcolors()) == 1
    assert len(area.getcolors()) == 2
