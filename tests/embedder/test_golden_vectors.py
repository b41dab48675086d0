"""Tests for embedder/golden_vectors.py: a model that loads as it did passes, no other one does."""

import numpy as np
import pytest
import torch

from embedder.content import Encoding
from embedder.golden_vectors import MIN_COSINE, departures, golden_vectors
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

LANCZOS = 1  # Pillow's number


@pytest.fixture
def opened():
    """nano, loaded for this test alone."""
    return MMEmbR1.open(EmbedderConfig(model="nano"))


@pytest.fixture(scope="module")
def golden():
    return golden_vectors(MMEmbR1.open(EmbedderConfig(model="nano")))


class TextOnly:
    """Counts letters, and reads no image."""

    def refusal(self, content):
        return "reads no image" if content.image is not None and not content.text else None

    def encode(self, contents, *, policy):
        assert policy == "never"
        return [
            Encoding(np.array([content.text.count("e"), len(content.text)]), "direct", 0.0)
            for content in contents
        ]

    encode_items = encode_query = encode


def test_a_model_that_loads_as_before_makes_its_golden_vectors_again(opened, golden):
    assert set(golden) == {"item text", "item image", "item text and image", "query text"}
    assert departures(golden, golden_vectors(opened)) == {}


def test_images_that_are_resized_by_another_filter_depart_and_texts_do_not(opened, golden):
    opened._checkpoint.inputs._cutter._resample = LANCZOS
    found = departures(golden, golden_vectors(opened))
    assert set(found) == {"item image", "item text and image"}
    assert all(0.99 < cosine < MIN_COSINE for cosine in found.values())


def test_half_precision_does_not_depart(opened, golden):
    opened._checkpoint.backbone.model.to(torch.bfloat16)
    made = golden_vectors(opened)
    assert not np.array_equal(made["item text"], golden["item text"])
    assert departures(golden, made) == {}


def test_a_state_that_is_read_before_the_final_norm_departs_everywhere(opened, golden):
    opened._checkpoint.backbone.model.model.language_model.norm = torch.nn.Identity()
    assert set(departures(golden, golden_vectors(opened))) == set(golden)


def test_of_a_model_without_eyes_only_what_it_reads_is_golden():
    made = golden_vectors(TextOnly())
    assert set(made) == {"item text", "item text and image", "query text"}
    assert made["query text"].tolist() == [2, 19]  # letters e, letters


def test_what_has_no_equal_has_no_cosine():
    golden = {"a": np.array([1.0, 0.0]), "b": np.array([1.0, 0.0]), "c": np.array([3.0, 4.0])}
    made = {"a": np.array([1.0, 0.0, 0.0]), "c": np.array([np.nan, 1.0])}
    found = departures(golden, made)
    assert set(found) == {"a", "b", "c"}
    assert (found["a"], found["b"]) == (0.0, 0.0)
