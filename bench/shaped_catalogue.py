"""The shared catalogue with images of the size that shops have, for models of published shapes."""

import io

from mixed_catalogue import mixed_catalogue
from PIL import Image

from embedder.content import Content

SIZES = ((448, 448), (450, 450), (400, 500), (500, 400), (360, 540))


def shaped_catalogue(num_items: int, *, seed: int, enlarged: bool) -> list[Content]:
    """Return items; with `enlarged` their images are photographs' size: some 194 tokens each."""
    contents = mixed_catalogue(num_items, seed=seed)
    if not enlarged:
        return contents
    return [
        Content(content.text, None if content.image is None else _larger(content.image, number))
        for number, content in enumerate(contents)
    ]


def _larger(image: bytes, number: int) -> bytes:
    file = io.BytesIO()
    drawn = Image.open(io.BytesIO(image)).convert("RGB")
    drawn.resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()
