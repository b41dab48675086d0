"""Tests for decoding.py: the continuous batch against greedy decoding without a cache.

The tolerance is 1e-5: padding and the cache change the order of float32 sums, nothing else.
"""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from embedder.content import Content, Failure
from embedder.engine.decoding import SelfDecoder
from embedder.engine.gating import Gate, Task
from embedder.engine.sampling import likeliest
from embedder.model.checkpoint import load
from embedder.reasoners.given_rationales import encode_with_rationales
from embedder.reasoners.reasoner import Rationale

TOLERANCE = 1e-5
TASK = Task("query", "find the item", "always")
QUESTIONS = (
    "as many hats as a bicycle has wheels",
    "boats, one more than a square has sides, in the colour of chocolate",
    "kites with the pattern of a zebra",
    "3 red mugs",
    "as many mugs as a week has days, in the colour of the sky",
)


@pytest.fixture(scope="module")
def nano():
    """The model that ships: its rationales have the length that the question needs."""
    return load("nano")


@pytest.fixture(scope="module")
def questions(nano):
    contents = [Content(text) for text in QUESTIONS]
    return [
        (row, content, nano.inputs.sample(content, "find the item"))
        for row, content in enumerate(contents)
    ]


def decided(backbone, inputs, rows, *, policy="always", theta=0.5):
    return Gate(backbone, inputs, theta=theta).launch(rows, policy=policy, keep_past=True).gated()


def answers(checkpoint, gated, *, deadline=None, max_new_tokens=64, **options):
    decoder = SelfDecoder(
        checkpoint.backbone, checkpoint.inputs, max_new_tokens=max_new_tokens, **options
    )
    return dict(decoder.decode(gated, replace(TASK, deadline=deadline)))


@pytest.fixture(scope="module")
def expected(nano, questions):
    """What each question is answered when it is alone."""
    return {
        row: answers(nano, decided(nano.backbone, nano.inputs, [question]))[row]
        for row, *_ in questions
        for question in [questions[row]]
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for row, answer in expected.items():
        assert (found[row].rationale, found[row].summary) == (answer.rationale, answer.summary)
        np.testing.assert_allclose(found[row].vector, answer.vector, atol=TOLERANCE)


@pytest.mark.parametrize("budget", [1, 3, 8])
def test_a_call_may_allow_fewer_tokens_than_the_version_does(nano, questions, budget):
    """The same as a version whose limit is the budget; a larger budget than the limit is none."""
    gated = decided(nano.backbone, nano.inputs, questions)
    shorter = answers(nano, gated, max_new_tokens=budget)
    decoder = SelfDecoder(nano.backbone, nano.inputs, max_new_tokens=64)
    cut = dict(decoder.decode(gated, replace(TASK, max_new_tokens=budget)))
    assert max(answer.rationale_tokens for answer in cut.values()) == budget - 1
    assert_same(cut, shorter)
    decoder = SelfDecoder(nano.backbone, nano.inputs, max_new_tokens=budget)
    assert_same(dict(decoder.decode(gated, replace(TASK, max_new_tokens=1_000))), shorter)


def test_reasoned_vectors_equal_greedy_steps_with_a_full_forward_each(
    checkpoint, prompts, plain_forward
):
    """The reference keeps no cache: it reads the whole sequence anew for every token."""
    backbone, inputs = checkpoint.backbone, checkpoint.inputs
    found = answers(checkpoint, decided(backbone, inputs, prompts), max_new_tokens=6)
    for row, _, sample in prompts:
        answer = [inputs.reason_id]
        while len(answer) < 6:
            _, logits = plain_forward(sample, answer)
            answer += likeliest(logits[-1:].clone(), forbidden=torch.tensor(inputs.forbidden_ids))
            if answer[-1] == inputs.emb_id:
                break
        if answer[-1] != inputs.emb_id:
            answer.append(inputs.emb_id)
        states, _ = plain_forward(sample, answer)
        assert found[row].action == "reason"
        assert found[row].rationale_tokens == len(answer) - 2
        vector = (states[-1] / states[-1].norm()).numpy()
        np.testing.assert_allclose(found[row].vector, vector, atol=TOLERANCE)


@pytest.mark.parametrize("num_slots", [1, 2, 3, 64])
@pytest.mark.parametrize("max_waiting", [0, 1, 256])
def test_joining_in_the_middle_changes_no_answer(nano, questions, expected, num_slots, max_waiting):
    assert len({answer.rationale_tokens for answer in expected.values()}) > 2
    gated = decided(nano.backbone, nano.inputs, questions)
    found = answers(nano, gated, num_slots=num_slots, max_waiting=max_waiting)
    assert_same(found, expected)


def test_the_shorter_rationale_is_answered_before_a_longer_one_that_began_earlier(
    nano, questions, expected
):
    gated = decided(nano.backbone, nano.inputs, questions)
    by_length = sorted(gated, key=lambda one: -expected[one.row].rationale_tokens)
    decoder = SelfDecoder(nano.backbone, nano.inputs, max_new_tokens=64, num_slots=2)
    order = [row for row, _ in decoder.decode(by_length, TASK)]
    assert order[0] != by_length[0].row
    assert sorted(order) == sorted(expected)


def test_direct_answers_do_not_wait_for_reasoning(nano, questions):
    reasoning = decided(nano.backbone, nano.inputs, questions[:2])
    direct = decided(nano.backbone, nano.inputs, questions[2:], policy="never")
    decoder = SelfDecoder(nano.backbone, nano.inputs, max_new_tokens=64)
    order = [row for row, _ in decoder.decode([*reasoning, *direct], TASK)]
    assert order[:3] == [2, 3, 4]


def test_more_is_prefilled_only_while_few_wait(nano, questions):
    gated = decided(nano.backbone, nano.inputs, questions)
    drawn = []

    def source():
        for one in gated:
            drawn.append(one.row)
            yield one

    decoder = SelfDecoder(nano.backbone, nano.inputs, max_new_tokens=64, num_slots=1, max_waiting=1)
    next(decoder.decode(source(), TASK))
    assert len(drawn) <= 3  # one in the slot, one that waits, one that made the wait too long


def test_a_rationale_that_does_not_end_is_closed_by_force(checkpoint, prompts):
    gated = decided(checkpoint.backbone, checkpoint.inputs, prompts)
    for answer in answers(checkpoint, gated, max_new_tokens=3).values():
        assert answer.rationale_tokens <= 2  # the third token is the embedding's
        assert answer.action == "reason"
        assert np.linalg.norm(answer.vector) == pytest.approx(1.0, abs=TOLERANCE)


def test_when_the_deadline_has_passed_everything_is_answered_directly(nano, questions):
    gated = decided(nano.backbone, nano.inputs, questions)
    found = answers(nano, gated, deadline=time.monotonic(), num_slots=2)
    assert len(found) == len(gated)
    for one in gated:
        assert found[one.row].fallback
        np.testing.assert_array_equal(found[one.row].vector, one.answer.vector)


class ShortOfMemory:
    """A backbone that cannot decode more than two sequences at once."""

    def __init__(self, backbone, most):
        self.model, self.device, self.logits = backbone.model, backbone.device, backbone.logits
        self.read_back, self.vectors = backbone.read_back, backbone.vectors
        self.text, self._backbone, self._most = self, backbone, most

    def step(self, ids, positions, cache):
        states = self._backbone.text.step(ids, positions, cache)
        if len(ids) > self._most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return states


def test_where_memory_runs_out_fewer_reason_at_once_and_the_answers_are_the_same(
    nano, questions, expected
):
    gated = decided(nano.backbone, nano.inputs, questions)
    decoder = SelfDecoder(ShortOfMemory(nano.backbone, 2), nano.inputs, max_new_tokens=64)
    assert_same(dict(decoder.decode(gated, TASK)), expected)


def test_a_rationale_that_fits_into_no_memory_fails_alone(nano, questions):
    gated = decided(nano.backbone, nano.inputs, questions)
    decoder = SelfDecoder(ShortOfMemory(nano.backbone, 0), nano.inputs, max_new_tokens=64)
    found = dict(decoder.decode(gated, TASK))
    assert len(found) == len(gated)
    assert all(isinstance(answer, Failure) for answer in found.values())


@pytest.mark.parametrize("readout", ["before", "mean"])
def test_a_decoded_vector_is_read_where_the_version_says(nano, questions, readout):
    """The same as of the rationale handed to the version: one forward over all of it."""
    own = nano.read_as(replace(nano.manifest, readout=readout))
    found = answers(own, decided(own.backbone, own.inputs, questions))
    contents = [content for _, content, _ in questions]
    told = [Rationale(found[row].rationale, found[row].summary) for row in range(len(questions))]
    manifest = replace(own.manifest, query_instruction=TASK.instruction)
    given = encode_with_rationales(replace(own, manifest=manifest), contents, told, side="query")
    vectors = np.stack([found[row].vector for row in range(len(questions))])
    np.testing.assert_allclose(vectors, given, atol=TOLERANCE)
