"""Augmentation: variations of a content that leave its meaning alone.

Colours are never touched: in a catalogue they are part of what people ask for.
"""

import io
import random
from dataclasses import dataclass, replace

from PIL import Image, ImageOps

from embedder.content import Content
from embedder.prompting.images import open_image


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How far a variation may go; calling it varies one content."""

    flip_probability: float = 0.5
    """Chance that an image is mirrored left to right. 0 where images hold text or a side."""

    max_shift: float = 0.08
    """An image moves at most this fraction of its width and of its height, either way."""

    max_zoom: float = 0.15
    """An image grows or shrinks by at most this fraction, width and height each on their own."""

    word_dropout: float = 0.1
    """Chance of each word of a text to be left out; one word always stays."""

    def __post_init__(self) -> None:
        for field in ("flip_probability", "max_shift", "max_zoom", "word_dropout"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} must be in [0, 1], got {getattr(self, field)}")

    def __call__(self, content: Content, rng: random.Random) -> Content:
        """Return the content with a varied image and a shortened text, as far as it has them.

        Further images and the clip stay as they are: mirrored, what moves would move another way.

        Raises:
            catalog.images.check.ImageError: the image cannot be read.
        """
        image = None if content.image is None else self._varied(content.image, rng)
        return replace(content, text=self._shortened(content.text, rng), image=image, key="")

    def _varied(self, data: bytes, rng: random.Random) -> bytes:
        image = open_image(data)
        if rng.random() < self.flip_probability:
            image = ImageOps.mirror(image)
        width, height = image.size
        zoom_x, zoom_y = (1 + rng.uniform(-self.max_zoom, self.max_zoom) for _ in "xy")
        shift_x, shift_y = (rng.uniform(-self.max_shift, self.max_shift) for _ in "xy")
        # From a point of the new image to one of the old, the zoom leaving the middle in place.
        left = width * ((1 - zoom_x) / 2 + shift_x)
        top = height * ((1 - zoom_y) / 2 + shift_y)
        moved = image.transform(
            image.size,
            Image.Transform.AFFINE,
            (zoom_x, 0, left, 0, zoom_y, top),
            resample=Image.Resampling.BILINEAR,
            fillcolor="white",
        )
        buffer = io.BytesIO()
        moved.save(buffer, "BMP")  # not compressed: it is read again at once
        return buffer.getvalue()

    def _shortened(self, text: str, rng: random.Random) -> str:
        words = text.split(" ")
        kept = [word for word in words if rng.random() >= self.word_dropout]
        return " ".join(kept or [rng.choice(words)])
