"""Clips of products that move: what they do is seen in no single frame.

A clip is 96 x 96 pixels, 8 frames and 4 seconds; what leaves the shelf on one side comes back on
the other. All of them begin alike, upright near the middle of the shelf: the first frame says what
the product is and nothing of how it moves.
"""

import io
import random
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageChops

from catalog.bazaar.drawing import SHELF_HEIGHT, SIZE, draw
from catalog.bazaar.world import Product, random_product

Motion = Literal["rising", "falling", "left", "right", "clockwise", "counterclockwise"]

MOTIONS: dict[Motion, str] = {
    "rising": "rising",
    "falling": "falling",
    "left": "going left",
    "right": "going right",
    "clockwise": "turning right",
    "counterclockwise": "turning left",
}
"""How people say it."""

NUM_FRAMES = 8
FRAMES_PER_S = 2
STEP_PIXELS, TURN_DEGREES = 14, 40
STEPS: dict[Motion, tuple[int, int, int]] = {
    "rising": (0, -1, 0),
    "falling": (0, 1, 0),
    "left": (-1, 0, 0),
    "right": (1, 0, 0),
    "clockwise": (0, 0, -1),
    "counterclockwise": (0, 0, 1),
}
"""Right, down and counterclockwise."""


@dataclass(frozen=True, slots=True)
class MovingProduct:
    """A product, and what it does."""

    product: Product
    motion: Motion

    @property
    def name(self) -> str:
        """What it is called, e.g. "red kite rising"; pattern, count and brand are left out."""
        return f"{self.product.colour} {self.product.noun} {MOTIONS[self.motion]}"


def random_moving_product(random: random.Random) -> MovingProduct:
    """A single product whose motion is drawn evenly and independently of what it is."""
    product = random_product(random)
    single = Product(product.noun, product.colour, product.pattern, 1, product.brand)
    return MovingProduct(single, random.choice(tuple(MOTIONS)))


def film(moving: MovingProduct, random: random.Random) -> list[Image.Image]:
    """The frames of a clip, [96, 96] RGB each; the generator decides where it starts, and how fast.

    The label of the brand stays where it is.
    """
    still = draw(moving.product, random)
    shelf = still.crop((0, 0, SIZE, SHELF_HEIGHT))
    centred = _shifted(shelf, *_centring(shelf))
    start_x, start_y = random.randint(-15, 15), random.randint(-8, 8)
    speed = random.uniform(0.8, 1.2)
    step_x, step_y, turn = STEPS[moving.motion]
    frames = []
    for number in range(NUM_FRAMES):
        moved = _turned(centred, turn * TURN_DEGREES * speed * number)
        far = round(STEP_PIXELS * speed * number)
        frame = still.copy()
        frame.paste(_shifted(moved, start_x + step_x * far, start_y + step_y * far), (0, 0))
        frames.append(frame)
    return frames


def gif(frames: list[Image.Image]) -> bytes:
    """The frames as a GIF file."""
    buffer = io.BytesIO()
    first, *others = (frame.quantize(64) for frame in frames)
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=others,
        duration=1000 // FRAMES_PER_S,
        loop=0,
    )
    return buffer.getvalue()


def _shifted(shelf: Image.Image, by_x: int, by_y: int) -> Image.Image:
    """The shelf moved right and down, what leaves it coming back on the other side."""
    width, height = shelf.size
    by_x, by_y = by_x % width, by_y % height
    moved = Image.new("RGB", shelf.size)
    for left in (by_x - width, by_x):
        for top in (by_y - height, by_y):
            moved.paste(shelf, (left, top))
    return moved


def _centring(shelf: Image.Image) -> tuple[int, int]:
    """How far the product is from the middle of the shelf."""
    empty = Image.new("RGB", shelf.size, _backdrop(shelf))
    filled = ImageChops.difference(shelf, empty).getbbox() or (0, 0, *shelf.size)
    left, top, right, bottom = filled
    return (shelf.width - left - right) // 2, (shelf.height - top - bottom) // 2


def _backdrop(shelf: Image.Image) -> tuple[int, int, int]:
    """The colour of the corner, where nothing stands."""
    red, green, blue = shelf.convert("RGB").crop((0, 0, 1, 1)).tobytes()
    return red, green, blue


def _turned(shelf: Image.Image, angle: float) -> Image.Image:
    filter = Image.Resampling.BILINEAR
    return shelf.rotate(angle, resample=filter, fillcolor=_backdrop(shelf))
