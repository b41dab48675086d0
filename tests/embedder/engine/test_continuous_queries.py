"""Tests for embedder/engine/continuous_queries.py: queries join and leave while others reason."""

import time

import numpy as np
import pytest

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

TEXTS = ["mugs", "three red mugs for the kitchen", "a kite", "kites " * 9]


@pytest.fixture(scope="module")
def model(checkpoint):
    return MMEmbR1(checkpoint, EmbedderConfig())


def add(batch, number, text, *, policy="always", deadline=None, max_new_tokens=None):
    prepared = batch.prepare(Content(text), policy=policy)
    batch.add(number, prepared, policy=policy, deadline=deadline, max_new_tokens=max_new_tokens)


def advanced(batch):
    """All answers by number, until nobody is under way."""
    answers = {}
    while batch.num_under_way:
        answers.update(batch.advance())
    return answers


@pytest.mark.parametrize("policy", ["never", "always", "auto"])
def test_a_query_that_joins_others_is_encoded_as_it_would_be_alone(model, policy):
    batch = model.query_batch()
    answers = {}
    for number, text in enumerate(TEXTS):  # each joins when the others are a token further
        add(batch, number, text, policy=policy)
        answers.update(batch.advance())
    answers.update(advanced(batch))
    for number, text in enumerate(TEXTS):
        (alone,) = model.encode_query([Content(text)], policy=policy)
        assert (answers[number].action, answers[number].rationale) == (
            alone.action,
            alone.rationale,
        )
        np.testing.assert_allclose(answers[number].vector, alone.vector, atol=1e-5)


def test_a_direct_answer_leaves_at_once_while_others_reason(model):
    batch = model.query_batch()
    add(batch, 0, "mugs")
    assert batch.advance() == []
    add(batch, 1, "kites", policy="never")
    ((number, answer),) = batch.advance()
    assert (number, answer.action) == (1, "direct")
    assert batch.num_under_way == 1


def test_each_query_keeps_its_own_deadline_and_its_own_token_limit(model):
    batch = model.query_batch()
    add(batch, 0, "mugs", deadline=time.monotonic() - 1)
    add(batch, 1, "mugs", max_new_tokens=2)
    add(batch, 2, "mugs")
    answers = advanced(batch)
    (full,) = model.encode_query([Content("mugs")], policy="always")
    (direct,) = model.encode_query([Content("mugs")], policy="never")
    assert answers[0].out_of_time
    np.testing.assert_allclose(answers[0].vector, direct.vector, atol=1e-5)
    assert answers[1].rationale_tokens == 1  # and the embedding token
    assert answers[2].rationale == full.rationale


def test_a_deadline_that_passes_while_others_reason_ends_one_and_not_the_others(model):
    batch = model.query_batch()
    deadline = time.monotonic() + 0.5
    add(batch, 0, "mugs", deadline=deadline)
    add(batch, 1, "three red mugs for the kitchen")
    add(batch, 2, "a kite")
    assert batch.advance() == []  # all of them are decoded now
    time.sleep(max(0.0, deadline - time.monotonic()))
    answers = advanced(batch)
    assert answers[0].out_of_time
    alone = model.encode_query([Content(text) for text in TEXTS[1:3]], policy="always")
    assert [answers[n].rationale for n in (1, 2)] == [one.rationale for one in alone]


def test_what_cannot_be_read_is_told_where_it_is_prepared(model):
    with pytest.raises(ValueError, match="PNG"):
        model.query_batch().prepare(Content("", b"no image"), policy=None)
