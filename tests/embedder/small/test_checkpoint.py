"""Tests of the small model that ships: it opens by its name, and knows a little of real things."""

import io
import random

import numpy as np
import pytest
from safetensors import safe_open

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.version import SHIPPED

QUESTIONS = {
    "a huge shark frightens swimmers": "Jaws: a great white attacks a beach resort in summer.",
    "a young wizard goes to school": "A boy who can do magic studies at a castle with his friends.",
    "a flight to the moon": "Three astronauts land their rocket on the moon and walk about.",
    "a recipe for soup": "Boil carrots, onions and beans in water and serve with bread.",
    "what became of Velda": "In the harbour Velda waited all winter for the ship.",
}


@pytest.fixture(scope="module")
def small():
    return MMEmbR1.open(EmbedderConfig(model="small", policy="auto"))


def vectors(small, contents):
    return np.stack([one.vector for one in small.encode_query(contents)])


def test_each_question_finds_its_text_among_the_others(small):
    score = (
        vectors(small, [Content(text) for text in QUESTIONS])
        @ vectors(small, [Content(text) for text in QUESTIONS.values()]).T
    )
    assert score.argmax(axis=1).tolist() == list(range(len(QUESTIONS)))


def test_it_is_small_and_half_precision():
    path = SHIPPED["small"] / "model.safetensors"
    with safe_open(path, framework="np") as file:
        tensors = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118, no mapping
        assert {tensor.get_dtype() for tensor in tensors} == {"F16"}
        assert 8e6 < sum(np.prod(tensor.get_shape()) for tensor in tensors) < 15e6
    assert path.stat().st_size < 40e6


def test_it_never_reasons_by_itself(small):
    (encoding,) = small.encode_query([Content("what has six wings and twelve legs?")])
    assert encoding.action == "direct"
    assert encoding.gate_probability == pytest.approx(0.5)


GOODS = (("red", "dress"), ("blue", "trousers"), ("green", "bottle"), ("black", "chair"))


@pytest.fixture(scope="module")
def drawn():
    """Encoded images of the goods."""
    from ponder.small.drawings import PATTERNS, RGB, drawn_goods

    rng, shown = random.Random(7), []
    for colour, name in GOODS:
        buffer = io.BytesIO()
        fill = PATTERNS["plain"]((96, 96), RGB[colour], rng)
        drawn_goods(name, (96, 96), fill, rng).save(buffer, "PNG")
        shown.append(buffer.getvalue())
    return shown


def test_drawn_goods_find_their_captions(small, drawn):
    captions = [Content(f"plain {colour} {name}") for colour, name in GOODS]
    shown = [Content(image=image) for image in drawn]
    score = vectors(small, shown) @ vectors(small, captions).T
    assert score.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_an_image_beside_a_text_drowns_nothing_and_counts(small, drawn):
    asked = vectors(small, [Content(text) for text in QUESTIONS])
    texts = vectors(small, [Content(text) for text in QUESTIONS.values()])
    cosines = []
    for image in drawn:
        beside = vectors(small, [Content(text, image) for text in QUESTIONS.values()])
        assert (asked @ beside.T).argmax(axis=1).tolist() == list(range(len(QUESTIONS)))
        assert (beside * texts).sum(axis=1).min() > 0.7
        cosines.append((beside @ vectors(small, [Content(image=image)])[0]).mean())
    assert np.mean(cosines) > 0.2
