"""Pairs of the bazaar's images and titles, and copies of the untrained nano to train."""

import copy
import random
from dataclasses import replace

import pytest

from catalog.bazaar.drawing import draw, png
from catalog.bazaar.world import random_product
from embedder.content import Content
from embedder.finetune.data.pairs import Pair


@pytest.fixture(scope="session")
def pairs():
    rng = random.Random(5)
    products = {product.name: product for product in (random_product(rng) for _ in range(40))}
    return [
        Pair(Content(name), Content(image=png(draw(product, rng))), name, str(n))
        for n, (name, product) in enumerate(sorted(products.items())[:10])
    ]


@pytest.fixture
def fresh(checkpoint):
    """Makes checkpoints that a training may change."""
    return lambda: replace(checkpoint, backbone=copy.deepcopy(checkpoint.backbone))
