"""Evaluate how well nano finds images of products that it has never seen.

Shape legend: N = images, D = embedding dimension
"""

import random

import torch
import torch.nn.functional as F

from catalog.bazaar import questions
from catalog.bazaar.drawing import draw, png
from catalog.bazaar.world import Product, random_product
from embedder.content import Content
from embedder.model.backbone import Backbone
from embedder.nano import architecture
from embedder.prompting.inputs import Inputs


def heldout_products(num_products: int, *, seed: int) -> list[Product]:
    """Draw products of held-out combinations, each name once."""
    rng = random.Random(f"heldout/{seed}")
    found: dict[str, Product] = {}
    while len(found) < num_products:
        product = random_product(rng)
        if product.is_held_out:
            found.setdefault(product.name, product)
    return list(found.values())


@torch.no_grad()
def heldout_hits(
    backbone: Backbone, inputs: Inputs, *, num_products: int, seed: int
) -> dict[str, float]:
    """Hit@1 in direct mode by tier: share of questions whose best image is a right answer.

    Candidates are images alone, without a word. Chance is the mean share of right answers.
    """
    products = heldout_products(num_products, seed=seed)
    rng = random.Random(f"questions/{seed}")
    images = [Content(image=png(draw(product, rng))) for product in products]
    item_ND = _direct(backbone, inputs, images, architecture.ITEM_INSTRUCTION)
    hits: dict[str, float] = {}
    chance: list[float] = []
    for tier in questions.TIERS:
        asked = [questions.ask(product, tier, rng) for product in products]
        texts = [Content(question.text) for question in asked]
        query_ND = _direct(backbone, inputs, texts, architecture.QUERY_INSTRUCTION)
        best = (query_ND @ item_ND.T).argmax(dim=1).tolist()
        right = [question.fits(products[i]) for question, i in zip(asked, best, strict=True)]
        hits[f"heldout/{tier}/hit@1"] = round(sum(right) / len(right), 4)
        chance += [len(question.answers(products)) / len(products) for question in asked]
    return hits | {"heldout/chance": round(sum(chance) / len(chance), 4)}


def _direct(
    backbone: Backbone, inputs: Inputs, contents: list[Content], instruction: str
) -> torch.Tensor:
    samples = [inputs.sample(content, instruction) for content in contents]
    ready = [sample.extended((inputs.direct_id, inputs.emb_id)) for sample in samples]
    states = [
        backbone.last_states(inputs.prompts(ready[i : i + 64], device=backbone.device))
        for i in range(0, len(ready), 64)
    ]
    return F.normalize(torch.cat(states), dim=-1)
