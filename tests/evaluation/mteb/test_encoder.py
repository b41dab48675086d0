"""Tests for evaluation/mteb/encoder.py, as mteb calls it; mteb itself is not needed."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from evaluation.mteb.costs import CostFile
from evaluation.mteb.encoder import PolicyEncoder, reads_images

TASK = {"task_metadata": SimpleNamespace(name="kites"), "hf_split": "test", "hf_subset": "de"}


@pytest.fixture
def costs(tmp_path):
    return CostFile(tmp_path / "kites.json")


def of(encoder, policy, costs):
    return PolicyEncoder(encoder, policy, conditions={}, cost_file=lambda task: costs)


def test_batches_become_vectors_in_order_and_their_cost_is_kept(encoder, costs):
    model = of(encoder, "always", costs)
    asked = model.encode(
        [{"text": ["a kite", "a boat"]}, {"text": ["a mug"]}], prompt_type="query", **TASK
    )
    found = model.encode([{"text": ["the boat"]}], prompt_type="document", **TASK)
    assert asked.shape == (3, encoder.dim)
    assert np.array_equal(asked[1], found[0])
    query, item = costs.total.query, costs.total.item
    assert (query.num_contents, query.num_reasoned, query.rationale_tokens) == (3, 3, 3)
    assert (item.num_contents, item.num_reasoned) == (1, 1)


def test_what_a_task_compares_without_asking_is_read_as_items(encoder, costs):
    of(encoder, "never", costs).encode([{"text": ["kite"]}], **TASK)
    assert (costs.total.query.num_contents, costs.total.item.num_contents) == (0, 1)


def test_what_cannot_be_embedded_is_counted_and_found_last(encoder, costs, caplog):
    model = of(encoder, "never", costs)
    with caplog.at_level(logging.WARNING):
        items = model.encode([{"text": ["unreadable", "kite", "boat"]}], **TASK)
    assert "failed=1 of=3 first=ValueError: unreadable" in caplog.text
    assert costs.total.item.num_failed == 1
    scores = model.similarity(-items[1:], items)
    assert np.argmin(scores, axis=1).tolist() == [0, 0]


def test_a_model_that_embeds_nothing_stops_the_task(encoder, costs):
    with pytest.raises(ValueError, match="unreadable"):
        of(encoder, "never", costs).encode([{"text": ["unreadable"]}], **TASK)


def test_scores_agree_to_six_decimals_whatever_the_batch(encoder, costs):
    model = of(encoder, "never", costs)
    rng = np.random.default_rng(0)
    left = rng.normal(size=(70, 64)).astype(np.float32)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    expected = np.round(left.astype(np.float64) @ left.astype(np.float64).T, 6)
    assert np.array_equal(model.similarity(left, left), expected.astype(np.float32))
    assert np.array_equal(model.similarity(left[3:4], left)[0], model.similarity(left, left)[3])
    assert model.similarity_pairwise(left, left) == pytest.approx(np.ones(70), abs=1e-6)


def test_an_encoder_that_takes_an_image_alone_reads_images(encoder):
    assert reads_images(encoder)
    encoder.refusal = lambda content: None if content.text else "text only"
    assert not reads_images(encoder)
