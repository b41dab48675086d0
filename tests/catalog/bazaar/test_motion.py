"""Tests for catalog/bazaar/motion.py: what a clip shows, and what its first frame does not."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from catalog.bazaar.motion import (
    MOTIONS,
    NUM_FRAMES,
    MovingProduct,
    film,
    gif,
    random_moving_product,
)
from catalog.bazaar.world import Product

KITE = Product("kite", "red", "plain", 1, "ACME")


def filmed(motion, seed=0):
    return [np.asarray(frame).astype(int) for frame in film(MovingProduct(KITE, motion), rng(seed))]


def rng(seed):
    return random.Random(seed)


def redness(frame):
    """How red each place of the shelf is."""
    return np.clip(frame[:80, :, 0] - frame[:80, :, 1], 0, None)


def middle(frame):
    """Row and column where the kite is, while it has not come round."""
    weight = redness(frame)
    rows, columns = np.indices(weight.shape)
    return (rows * weight).sum() / weight.sum(), (columns * weight).sum() / weight.sum()


@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [("rising", 0, -1), ("falling", 0, 1), ("left", 1, -1), ("right", 1, 1)],
)
def test_a_product_goes_where_its_motion_says(motion, axis, sign):
    for seed in range(5):
        first, second = filmed(motion, seed)[:2]
        moved = np.subtract(middle(second), middle(first))
        assert sign * moved[axis] > 3
        assert abs(moved[1 - axis]) < 1


@pytest.mark.parametrize(("motion", "quarters"), [("clockwise", -1), ("counterclockwise", 1)])
def test_a_product_turns_the_way_its_motion_says(motion, quarters):
    """After two or three steps it is nearer to the quarter turn it makes than to the other one."""
    frames = filmed(motion, 1)
    row, column = (round(place) for place in middle(frames[0]))
    cut = [redness(f)[row - 24 : row + 24, column - 24 : column + 24] for f in frames]
    made = [np.abs(np.rot90(cut[0], quarters) - cut[n]).sum() for n in (2, 3)]
    other = [np.abs(np.rot90(cut[0], -quarters) - cut[n]).sum() for n in (2, 3)]
    assert min(made) < min(other)


def test_the_first_frame_says_nothing_of_the_motion():
    firsts = [filmed(motion)[0] for motion in MOTIONS]
    assert all((one == firsts[0]).all() for one in firsts)
    assert all(len({frame.tobytes() for frame in filmed(m)}) == NUM_FRAMES for m in MOTIONS)


def test_a_gif_holds_the_frames_two_a_second():
    opened = Image.open(io.BytesIO(gif(film(MovingProduct(KITE, "rising"), rng(0)))))
    assert (opened.n_frames, opened.size, opened.info["duration"]) == (NUM_FRAMES, (96, 96), 500)


def test_the_same_seed_makes_the_same_clip():
    one, other = (gif(film(random_moving_product(r), r)) for r in (rng(5), rng(5)))
    assert one == other


def test_names_tell_what_moves_and_how():
    assert MovingProduct(KITE, "clockwise").name == "red kite turning right"
