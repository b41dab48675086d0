"""Tests for embedder/engine/engine.py: what fails alone, what halves, and what stops everything.

The gate and the inputs are doubles: a sample is as long as its text, and a vector is its length.
"""

import numpy as np
import pytest
import torch

from embedder.content import Content, Encoding, Failure
from embedder.engine.engine import Engine
from embedder.engine.gating import Gated, NoRoom, Task
from embedder.prompting.sample import Sample

BAD_SHAPE = RuntimeError("bad shape")
TASK = Task("item", "describe", "never")


class Lengths:
    """Inputs: an unreadable text raises, another one becomes a sample of its length."""

    def sample(self, content, instruction):
        if content.text == "unreadable":
            raise ValueError("not a readable image")
        return Sample([0] * len(content.text))


class LengthGate:
    """Gate that notes the sizes of its batches and fails as it is told to."""

    def __init__(self, *, poison=(), most_tokens=10_000, error=BAD_SHAPE):
        self.poison, self.most_tokens, self.error = poison, most_tokens, error
        self.batches = []

    def decide(self, rows, *, policy, keep_past, theta=None):
        self.batches.append(len(rows))
        if len(rows) * max(len(sample) for _, _, sample in rows) > self.most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if any(content.text in self.poison for _, content, _ in rows):
            raise self.error
        return [
            Gated(row, content, Encoding(np.array([len(sample)]), "direct", 0.0))
            for row, content, sample in rows
        ]


class Direct:
    """Decoder that never has to decode."""

    needs_past = False

    def decode(self, gated, task):
        for one in gated:
            if not isinstance(one, NoRoom):
                yield one.row, one.answer


def engine(gate, *, batch_tokens=40, window=100, num_workers=0):
    return Engine(
        gate, Lengths(), Direct(), batch_tokens=batch_tokens, window=window, num_workers=num_workers
    )


def answers(gate, texts, **options):
    return dict(engine(gate, **options).answers(map(Content, texts), TASK))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_content_gets_the_answer_that_is_its_own(num_workers):
    texts = ["x" * (n % 7 + 1) for n in range(50)]
    found = answers(LengthGate(), texts, window=8, num_workers=num_workers)
    assert {row: int(answer.vector[0]) for row, answer in found.items()} == {
        row: len(text) for row, text in enumerate(texts)
    }


def test_what_cannot_be_prepared_fails_alone():
    found = answers(LengthGate(), ["abc", "unreadable", "def"])
    assert found[1].reason == "ValueError: not a readable image"
    assert not isinstance(found[0], Failure)
    assert not isinstance(found[2], Failure)


def test_one_bad_content_is_found_by_halving_and_the_others_are_encoded():
    texts = [f"{n:04}" for n in range(32)]
    gate = LengthGate(poison={"0019"})
    found = answers(gate, texts, batch_tokens=4 * 32)
    assert [row for row, answer in found.items() if isinstance(answer, Failure)] == [19]
    assert found[19].reason == "RuntimeError: bad shape"
    assert gate.batches == [32, 16, 16, 8, 4, 2, 2, 1, 1, 4, 8]


def test_a_batch_that_does_not_fit_is_halved_and_the_budget_remembered():
    gate = LengthGate(most_tokens=20)
    tested = engine(gate, batch_tokens=80)
    found = dict(tested.answers((Content("12345") for _ in range(64)), TASK))
    assert len(found) == 64
    assert not any(isinstance(answer, Failure) for answer in found.values())
    assert tested.budget.value == 20
    # Each is tried again when what is under way has ended; 16 and 8 do not fit, 4 do.
    assert gate.batches[:5] == [16, 16, 8, 8, 4]
    assert set(gate.batches[5:]) <= {4, 8}
    assert gate.batches[-10:] == [4] * 10


def test_a_single_content_that_does_not_fit_fails_and_costs_the_others_nothing():
    gate = LengthGate(most_tokens=40)
    tested = engine(gate, batch_tokens=40)
    found = dict(tested.answers([Content("x" * 41), *[Content("1234")] * 10], TASK))
    assert [row for row, answer in found.items() if isinstance(answer, Failure)] == [0]
    assert tested.budget.value == 40


def test_when_all_of_a_batch_fail_it_is_not_the_contents_fault():
    texts = [f"{n:04}" for n in range(8)]
    with pytest.raises(RuntimeError, match="bad shape"):
        answers(LengthGate(poison=set(texts)), texts)
    few = answers(LengthGate(poison=set(texts)), texts[:7])
    assert all(isinstance(answer, Failure) for answer in few.values())


def test_a_lost_device_blames_no_content():
    gate = LengthGate(poison={"b"}, error=torch.AcceleratorError("CUDA error: device-side assert"))
    with pytest.raises(torch.AcceleratorError, match="device-side assert"):
        answers(gate, ["a", "b", "c"])
    assert gate.batches == [3]


class Crowded:
    """Decoder that has memory for the first content that it is given, and for no other."""

    needs_past = False

    def __init__(self):
        self.calls = []

    def decode(self, gated, task):
        rows = [one.row for one in gated]
        self.calls.append(rows)
        yield rows[0], Encoding(np.array([1.0]), "reason", 1.0)
        for row in rows[1:]:
            yield row, Failure(torch.OutOfMemoryError("CUDA out of memory"))


def test_what_had_too_little_memory_beside_others_is_tried_again_alone():
    decoder = Crowded()
    tested = Engine(LengthGate(), Lengths(), decoder, batch_tokens=40, window=9, num_workers=0)
    found = dict(tested.answers([Content("1234")] * 4, TASK))
    assert decoder.calls == [[0, 1, 2, 3], [1], [2], [3]]
    assert not any(isinstance(answer, Failure) for answer in found.values())
