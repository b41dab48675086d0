"""What the engine does when memory is scarce: everything is answered as if it were not.

The memory is counted by `limited_memory`: every tensor that torch makes, weights aside.
"""

from dataclasses import replace

import numpy as np
import pytest

from embedder.content import Content, Failure
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from tests.embedder.engine.limited_memory import LimitedMemory

TEXTS = [
    "as many mugs as a cat has legs",
    "mugs",
    "three red striped mugs for the kitchen",
    "kites " * 9,
]
CONTENTS = [Content(text) for text in TEXTS * 3]
TOLERANCE = 1e-5


def encoder(checkpoint, **config):
    return MMEmbR1(checkpoint, EmbedderConfig(policy="always", **config))


def answered(model, contents):
    return dict(model.stream_items(contents))


@pytest.fixture(scope="module")
def nano():
    """The model that ships, with rationales that are closed by force: the steps are slow here."""
    whole = load("nano")
    return whole.read_as(replace(whole.manifest, max_new_tokens=12))


@pytest.fixture(scope="module")
def expected(nano):
    """With all the memory there is; and the most that was held."""
    with LimitedMemory() as memory:
        found = answered(encoder(nano), CONTENTS)
    return found, memory.peak


@pytest.fixture(scope="module")
def alone(nano):
    """The most that is held for any one of them by itself, with one slot, beside all answers.

    Those lie in the same memory here, twice for who reasons; a GPU holds none of them.
    """
    peaks = []
    for content in CONTENTS[: len(TEXTS)]:
        with LimitedMemory() as memory:
            answered(encoder(nano, num_slots=1), [content])
        peaks.append(memory.peak)
    return max(peaks) + 2 * len(CONTENTS) * nano.hidden_size * 4


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for row, answer in expected.items():
        assert not isinstance(found[row], Failure), (row, found[row].reason)
        assert found[row].rationale == answer.rationale
        np.testing.assert_allclose(found[row].vector, answer.vector, atol=TOLERANCE)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_with_any_memory_that_holds_the_largest_alone_all_are_answered(
    nano, expected, alone, share
):
    everything, peak = expected
    assert alone < peak / 3  # or nothing would be shown
    limit = alone + share * (peak - alone)
    with LimitedMemory(limit) as memory:
        found = answered(encoder(nano), CONTENTS)
    assert memory.refusals
    assert_same(found, everything)


@pytest.mark.slow
def test_with_a_batch_unread_beside_the_next_all_are_answered_too(nano, alone):
    direct = MMEmbR1(nano, EmbedderConfig(policy="never")).encode_items(CONTENTS)
    theta = sorted(encoding.gate_probability for encoding in direct)[len(CONTENTS) // 2]
    config = EmbedderConfig(item_theta=theta, batch_tokens=128)
    ample, scarce = (MMEmbR1(nano, config) for _ in range(2))
    with LimitedMemory() as memory:
        expected = answered(ample, CONTENTS)
    assert {answer.action for answer in expected.values()} == {"direct", "reason"}
    scarce._engine._num_unread = 1
    with LimitedMemory(alone) as limited:
        found = answered(scarce, CONTENTS)
    assert limited.refusals
    assert alone < memory.peak
    assert_same(found, expected)


def test_what_does_not_fit_alone_is_the_only_one_that_fails(nano, expected, alone):
    everything, _ = expected
    huge = Content("kites and bells " * 30)
    with LimitedMemory(alone) as memory:
        found = answered(encoder(nano), [*CONTENTS, huge])
    assert memory.refusals
    failure = found.pop(len(CONTENTS))
    assert failure.reason.startswith("OutOfMemoryError")
    assert_same(found, everything)
    error = failure.error
    assert error.__traceback__ is error.__context__ is error.__cause__ is None


def test_queries_that_find_no_memory_are_answered_directly_and_the_next_ones_reason_again(
    nano, alone
):
    batch = encoder(nano).query_batch()
    answers = {}
    with LimitedMemory(alone):
        for number, content in enumerate(CONTENTS):
            prepared = batch.prepare(content, policy="always")
            batch.add(number, prepared, policy="always", deadline=None, max_new_tokens=None)
        while batch.num_under_way:
            answers.update(batch.advance())
    assert sorted(answers) == list(range(len(CONTENTS)))
    assert not any(isinstance(answer, Failure) for answer in answers.values())
    prepared = batch.prepare(CONTENTS[0], policy="always")
    batch.add(0, prepared, policy="always", deadline=None, max_new_tokens=None)
    while batch.num_under_way:
        answers.update(batch.advance())
    assert answers[0].action == "reason"
