"""The catalogue that the benchmarks share: texts of log-normal length, 60 % with pictures."""

import random

import numpy as np

from catalog.bazaar import wording
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.world import random_product
from embedder.content import Content

PICTURE_SHARE = 0.6
MEDIAN_WORDS, SPREAD, MAX_WORDS = 30, 0.7, 150  # of the log-normal; the cut stays below 256 tokens


def mixed_catalogue(num_items: int, *, seed: int) -> list[Content]:
    """Bazaar items whose texts are stretched or shrunk to log-normal lengths."""
    source, rng = random.Random(seed), np.random.default_rng(seed)
    contents = []
    for _ in range(num_items):
        product = random_product(source)
        words = f"{wording.title(product, source)} {wording.description(product, source)}".split()
        num_words = int(np.clip(rng.lognormal(np.log(MEDIAN_WORDS), SPREAD), 3, MAX_WORDS))
        text = " ".join(source.choice(words) for _ in range(num_words))
        has_picture = rng.random() < PICTURE_SHARE
        contents.append(Content(text, png(draw(product, source)) if has_picture else None))
    return contents
