"""The catalogue that the benchmarks share: texts of log-normal length, 60 % with images."""

import random

import numpy as np

from catalog.bazaar import wording
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.world import random_product
from embedder.content import Content

IMAGE_SHARE = 0.6
MEDIAN_WORDS, SPREAD, MAX_WORDS = 30, 0.7, 150  # of the log-normal; the cut stays below 256 tokens


def mixed_catalogue(num_items: int, *, seed: int) -> list[Content]:
    """Return bazaar items whose texts are stretched or shrunk to log-normal lengths."""
    rng, lengths = random.Random(seed), np.random.default_rng(seed)
    contents = []
    for _ in range(num_items):
        product = random_product(rng)
        words = f"{wording.title(product, rng)} {wording.description(product, rng)}".split()
        num_words = int(np.clip(lengths.lognormal(np.log(MEDIAN_WORDS), SPREAD), 3, MAX_WORDS))
        text = " ".join(rng.choice(words) for _ in range(num_words))
        has_image = lengths.random() < IMAGE_SHARE
        contents.append(Content(text, png(draw(product, rng)) if has_image else None))
    return contents
