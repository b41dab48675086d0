"""Images with captions that the vision encoder learns from: emoji, scenes of emoji, drawn goods.

Every image is drawn here, of Noto Emoji and of plain shapes; no photo is among them. Scenes come in
twos that differ in one thing, such as a colour, and stand side by side.
"""

import hashlib
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from PIL import Image, ImageChops

from catalog.images.check import opened_image
from ponder.small.drawings import GOODS, PATTERNS, RGB, drawn_goods

SIZES = ((96, 96), (96, 96), (64, 96), (96, 64))
"""Width and height of what is drawn, in pixels."""

WHITE = (255, 255, 255)
TONE = "skin tone"


@dataclass(frozen=True, slots=True)
class Emoji:
    """One emoji of the set's train split."""

    name: str
    image: Image.Image
    """RGB on white."""


@dataclass(frozen=True, slots=True)
class EmojiSet:
    """What scenes are made of."""

    emoji: Sequence[Emoji]
    digest: str
    """SHA-256 of the two files that were read."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An image and what it shows."""

    image: bytes
    """PNG."""

    caption: str


def read_emoji(folder: Path, *, split: str = "train") -> EmojiSet:
    """Read a folder as `ponder emoji` writes it, or with the images apart in `images.parquet`.

    Raises:
        FileNotFoundError: the folder holds no emoji.
    """
    items, images = folder / "items.parquet", folder / "images.parquet"
    if not items.is_file():
        raise FileNotFoundError(
            f"{folder} must hold items.parquet: emoji with their names; ponder emoji writes one"
        )
    rows, digest = pl.read_parquet(items), hashlib.sha256(items.read_bytes())
    if images.is_file():
        rows = rows.join(pl.read_parquet(images), on="item_id")
        digest.update(images.read_bytes())
    named = "name" if "name" in rows.columns else "title"
    emoji = []
    for name, image in (
        rows.filter(pl.col("split") == split).sort("item_id").select(named, "image").iter_rows()
    ):
        with opened_image(image) as opened:
            emoji.append(Emoji(name, opened.convert("RGB")))
    return EmojiSet(emoji, digest.hexdigest())


def scenes(emoji: Sequence[Emoji], num_scenes: int, *, seed: int) -> Iterator[Scene]:
    """Yield every emoji as it is, and then drawn scenes two by two.

    Args:
        emoji: what they are made of.
        num_scenes: that are drawn; a multiple of 2.
        seed: decides everything.
    """
    for one in emoji:
        yield Scene(_png(one.image), one.name)
    rng = random.Random(f"small/{seed}")
    emoji = [one for one in emoji if TONE not in one.name]  # else most scenes were of hands
    for _ in range(num_scenes // 2):
        write = rng.choice((_recoloured, _placed, _together, _goods, _goods))
        for image, caption in write(emoji, rng):
            yield Scene(_png(image), caption)


def _recoloured(emoji: Sequence[Emoji], rng: random.Random) -> Iterator[tuple[Image.Image, str]]:
    """Draw an emoji in the shades of one colour, and of another."""
    one, size = rng.choice(emoji), rng.choice(SIZES)
    for colour in rng.sample(list(RGB), 2):
        grey = one.image.convert("L").convert("RGB")
        tinted = ImageChops.multiply(grey, Image.new("RGB", grey.size, RGB[colour]))
        shown = Image.composite(tinted, one.image, _mask(one.image))
        yield _on(Image.new("RGB", size, WHITE), [shown], rng), f"{colour} {one.name}"


def _placed(emoji: Sequence[Emoji], rng: random.Random) -> Iterator[tuple[Image.Image, str]]:
    """Draw two emoji on the same ground, whose colour and pattern are told."""
    size, colour, look = rng.choice(SIZES), rng.choice(list(RGB)), rng.choice(list(PATTERNS))
    for one in rng.sample(list(emoji), 2):
        ground = PATTERNS[look](size, RGB[colour], rng)
        yield _on(ground, [one.image], rng), f"{one.name} on {look} {colour}"


def _together(emoji: Sequence[Emoji], rng: random.Random) -> Iterator[tuple[Image.Image, str]]:
    """Draw an emoji beside another, and beside a third."""
    one, *others = rng.sample(list(emoji), 3)
    for other in others:
        ground = Image.new("RGB", (96, 96), WHITE)
        yield _on(ground, [one.image, other.image], rng), f"{one.name} and {other.name}"


def _goods(emoji: Sequence[Emoji], rng: random.Random) -> Iterator[tuple[Image.Image, str]]:
    """Draw goods in one colour and pattern, and in others."""
    name, size = rng.choice(list(GOODS)), rng.choice(SIZES)
    for colour in rng.sample(list(RGB), 2):
        look = rng.choice(list(PATTERNS))
        fill = PATTERNS[look](size, RGB[colour], rng)
        yield drawn_goods(name, size, fill, rng), f"{look} {colour} {name}"


def _on(ground: Image.Image, shown: Sequence[Image.Image], rng: random.Random) -> Image.Image:
    """Lay images on a ground from left to right, each turned and scaled a little."""
    width = ground.width // len(shown)
    for number, one in enumerate(shown):
        side = round(min(width, ground.height) * rng.uniform(0.7, 1))
        turned = one.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC, fillcolor=WHITE)
        small = turned.resize((side, side), Image.Resampling.BICUBIC)
        left = number * width + rng.randint(0, width - side)
        ground.paste(small, (left, rng.randint(0, ground.height - side)), _mask(small))
    return ground


def _mask(image: Image.Image) -> Image.Image:
    """Return 255 where an image is not white, 0 elsewhere."""
    far = ImageChops.invert(image).convert("L")
    return far.point(lambda value: 255 if value > 8 else 0)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
