"""The emoji that a colour font draws, with the names that Unicode gives them.

Single characters alone: flags, families and shades of skin are several characters each, which a
font joins only where Pillow was built with a shaping library.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

STRIKE = 109
"""Pixels per em of the one size in which Noto Color Emoji holds its bitmaps."""

SIDE = 96

BITMAPS = b"CBDT"  # the table that holds them

_RANGES = ((0x2000, 0x3300), (0x1F000, 0x1FC00))  # where Unicode has emoji; ASCII's digits are not
_PARTS = (range(0x1F1E6, 0x1F200), range(0x1F3FB, 0x1F400))  # of flags, and of shades of skin


@dataclass(frozen=True, slots=True)
class Emoji:
    """A character that a font draws in colour."""

    code: str
    """Its code point, hexadecimal, lower case."""

    name: str
    """As Unicode has it, lower case."""

    image: Image.Image
    """RGB on white, SIDE x SIDE."""


def drawn_emoji(font: Path) -> Iterator[Emoji]:
    """Yield the emoji of a font in the order of their code points.

    Args:
        font: a TrueType file with bitmaps in colour (CBDT), such as Debian's NotoColorEmoji.ttf.

    Raises:
        ValueError: it is no such file.
        OSError: it is damaged.
    """
    if not font.is_file() or BITMAPS not in _table_directory(font):
        raise ValueError(
            f"{font} must be a font with bitmaps in colour, got "
            f"{'one without' if font.is_file() else 'no file'}; Debian's package "
            "fonts-noto-color-emoji has one"
        )
    opened = ImageFont.truetype(font, STRIKE, layout_engine=ImageFont.Layout.BASIC)
    for point in chain.from_iterable(range(*span) for span in _RANGES):
        name = unicodedata.name(chr(point), "")
        if name and _is_symbol(point) and _is_drawn(opened, chr(point)):
            yield Emoji(f"{point:x}", name.lower(), _image(opened, chr(point)))


def _table_directory(font: Path) -> bytes:
    """Return the start of a font, where its tables are named."""
    with font.open("rb") as file:
        return file.read(1_024)


def _is_symbol(point: int) -> bool:
    """Return whether a code point stands for something by itself."""
    is_part = any(point in part for part in _PARTS)
    return unicodedata.category(chr(point)).startswith("S") and not is_part


def _is_drawn(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Return whether a font has an image of a character; of one that it lacks it draws nothing."""
    _, top, _, bottom = font.getbbox(character)
    return bottom > top


def _image(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    left, top, right, bottom = map(round, font.getbbox(character))
    side = max(right - left, bottom - top)
    image = Image.new("RGB", (side, side), "white")
    corner = ((side - right - left) // 2, (side - bottom - top) // 2)
    ImageDraw.Draw(image).text(corner, character, font=font, embedded_color=True)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
