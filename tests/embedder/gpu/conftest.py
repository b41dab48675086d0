"""What the tests that need a GPU share: nano on both devices, and contents."""

import random

import pytest
import torch

from catalog.bazaar.drawing import draw, png
from catalog.bazaar.world import random_product
from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

DEVICE = "cuda"


@pytest.fixture(scope="session", autouse=True)
def gpu():
    """The device; every test here is skipped without one."""
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    # float32 products that are rounded to TF32 would differ from the CPU's by 1e-3.
    torch.backends.cuda.matmul.allow_tf32 = False
    return DEVICE


@pytest.fixture(scope="session")
def contents():
    """48 items, every other one with an image."""
    rng, made = random.Random(0), []
    for number in range(48):
        product = random_product(rng)
        image = png(draw(product, rng)) if number % 2 else None
        text = f"{product.colour} {product.noun} " * (1 + number % 5)
        made.append(Content(text, image))
    return made


@pytest.fixture(scope="session")
def nano():
    """Opens nano as it is asked, once each."""
    opened = {}

    def open_nano(**options):
        key = tuple(sorted(options.items()))
        if key not in opened:
            opened[key] = MMEmbR1.open(EmbedderConfig(**options))
        return opened[key]

    return open_nano
