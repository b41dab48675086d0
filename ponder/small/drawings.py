"""Goods as plain shapes in colours and patterns, as a shop shows them on white."""

import random
from collections.abc import Callable, Mapping, Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

RGB: Mapping[str, Colour] = {
    "black": (25, 25, 25),
    "white": (245, 245, 240),
    "grey": (128, 128, 128),
    "red": (200, 30, 40),
    "blue": (40, 80, 200),
    "navy blue": (20, 30, 90),
    "green": (40, 140, 60),
    "olive": (110, 115, 50),
    "yellow": (240, 215, 50),
    "orange": (240, 130, 30),
    "pink": (240, 150, 180),
    "purple": (120, 50, 150),
    "brown": (110, 70, 40),
    "beige": (220, 200, 165),
    "maroon": (110, 20, 40),
    "turquoise": (60, 190, 185),
}
"""Colours by what they are called, with values in 0 to 255."""

GOODS: Mapping[str, Sequence[str]] = {
    "t-shirt": ("10,20 35,10 50,17 65,10 90,20 82,40 72,35 72,90 28,90 28,35 18,40",),
    "shirt with long sleeves": (
        "30,10 50,17 70,10 86,25 95,80 84,82 72,40 72,90 28,90 28,40 16,82 5,80 14,25",
    ),
    "trousers": ("30,5 70,5 78,95 58,95 50,35 42,95 22,95",),
    "shorts": ("25,25 75,25 85,70 55,72 50,50 45,72 15,70",),
    "dress": ("38,5 62,5 66,35 88,95 12,95 34,35",),
    "skirt": ("35,20 65,20 88,85 12,85",),
    "shoe": ("8,35 30,32 45,50 85,58 95,70 92,78 8,78",),
    "boot": ("20,8 48,8 50,55 85,70 88,88 20,88",),
    "sandal": (
        "5,70 95,70 95,78 5,78",
        "20,70 35,40 45,40 55,70 47,70 40,50 28,70",
    ),
    "handbag": (
        "12,40 88,40 95,90 5,90",
        "30,40 36,12 64,12 70,40 63,40 58,20 42,20 37,40",
    ),
    "backpack": ("25,20 40,8 60,8 75,20 80,90 20,90",),
    "cap": ("20,60 22,35 42,20 65,25 75,45 75,58 97,66 75,68",),
    "belt": ("2,42 98,42 98,56 2,56",),
    "tie": ("42,5 58,5 55,18 64,75 50,95 36,75 45,18",),
    "bottle": ("42,5 58,5 58,25 68,40 68,95 32,95 32,40 42,25",),
    "mug": (
        "18,20 68,20 66,85 20,85",
        "68,32 88,36 86,66 67,70 67,60 77,58 78,44 68,42",
    ),
    "vase": ("38,8 62,8 57,28 78,55 64,92 36,92 22,55 43,28",),
    "chair": ("25,5 34,5 36,50 80,50 80,95 72,95 71,60 34,60 33,95 25,95",),
    "table": ("5,35 95,35 95,45 87,45 87,90 79,90 79,45 21,45 21,90 13,90 13,45 5,45",),
    "lamp": ("35,10 65,10 80,45 54,45 54,85 70,92 30,92 46,85 46,45 20,45",),
}
"""Outlines by name: points as hundredths of the width and of the height."""


def plain(size: tuple[int, int], colour: Colour, rng: random.Random) -> Image.Image:
    """Return an area of one colour, a little lighter or darker than it is called."""
    shade = rng.uniform(0.85, 1.15)
    return Image.new("RGB", size, _scaled(colour, shade))


def striped(size: tuple[int, int], colour: Colour, rng: random.Random) -> Image.Image:
    """Return stripes of a colour and a lighter or darker one."""
    area = plain(size, colour, rng)
    draw, step, other = ImageDraw.Draw(area), rng.randint(5, 12), _contrast(colour)
    is_upright = rng.random() < 0.5
    for start in range(0, max(size), 2 * step):
        end = start + step
        box = (start, 0, end, size[1]) if is_upright else (0, start, size[0], end)
        draw.rectangle(box, fill=other)
    return area


def checked(size: tuple[int, int], colour: Colour, rng: random.Random) -> Image.Image:
    """Return squares of a colour and a lighter or darker one."""
    area = plain(size, colour, rng)
    draw, step, other = ImageDraw.Draw(area), rng.randint(6, 12), _contrast(colour)
    for row in range(0, size[1], step):
        for column in range((row // step % 2) * step, size[0], 2 * step):
            draw.rectangle((column, row, column + step, row + step), fill=other)
    return area


def dotted(size: tuple[int, int], colour: Colour, rng: random.Random) -> Image.Image:
    """Return dots on a colour."""
    area = plain(size, colour, rng)
    draw, step, other = ImageDraw.Draw(area), rng.randint(8, 14), _contrast(colour)
    for row in range(0, size[1], step):
        for column in range(0, size[0], step):
            draw.ellipse((column, row, column + step // 2, row + step // 2), fill=other)
    return area


PATTERNS: Mapping[str, Callable[[tuple[int, int], Colour, random.Random], Image.Image]] = {
    "plain": plain,
    "striped": striped,
    "checked": checked,
    "dotted": dotted,
}


def drawn_goods(
    name: str, size: tuple[int, int], fill: Image.Image, rng: random.Random
) -> Image.Image:
    """Return goods on white, a little shifted and squeezed.

    Args:
        name: a key of `GOODS`.
        size: of the image.
        fill: what the goods are made of, of the same size.
        rng: draws.
    """
    scale, left, top = rng.uniform(0.75, 1), rng.uniform(0, 0.1), rng.uniform(0, 0.1)
    is_mirrored = rng.random() < 0.5
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    for outline in GOODS[name]:
        points = [tuple(int(part) / 100 for part in one.split(",")) for one in outline.split()]
        placed = [
            (((1 - x if is_mirrored else x) * scale + left) * size[0], (y * scale + top) * size[1])
            for x, y in points
        ]
        draw.polygon(placed, fill=255)
    ground = Image.new("RGB", size, (255, 255, 255))
    ground.paste(fill, mask=mask)
    return ground


def _scaled(colour: Colour, shade: float) -> Colour:
    red, green, blue = (min(255, round(value * shade)) for value in colour)
    return red, green, blue


def _contrast(colour: Colour) -> Colour:
    return _scaled(colour, 0.55) if sum(colour) > 300 else _scaled(colour, 1.6)
