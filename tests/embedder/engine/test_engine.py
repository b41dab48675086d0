"""Tests for embedder/engine/engine.py: what fails alone, what halves, and what stops everything.

The gate and the inputs are doubles: a sample is as long as its text, and a vector is its length.
"""

import numpy as np
import pytest
import torch

from embedder.content import Content, Encoding, Failure
from embedder.engine.engine import Engine
from embedder.engine.gating import Gated, NoRoom, Task
from embedder.engine.prefetch import Prefetch
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
    """Gate that notes the sizes of its batches and fails as it is told to, at once or when read."""

    def __init__(self, *, poison=(), most_tokens=10_000, error=BAD_SHAPE, fails_late=False):
        self.poison, self.most_tokens, self.error = poison, most_tokens, error
        self.fails_late = fails_late
        self.batches, self.events = [], []

    def launch(self, rows, *, policy, keep_past, theta=None):
        self.batches.append(len(rows))
        self.events.append(("launch", rows[0][0]))
        if not self.fails_late:
            self._check(rows)
        return Late(lambda: self._gated(rows))

    def _gated(self, rows):
        self.events.append(("read", rows[0][0]))
        if self.fails_late:
            self._check(rows)
        return [
            Gated(row, content, Encoding(np.array([len(sample)]), "direct", 0.0))
            for row, content, sample in rows
        ]

    def _check(self, rows):
        if len(rows) * max(len(sample) for _, _, sample in rows) > self.most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if any(content.text in self.poison for _, content, _ in rows):
            raise self.error


class Late:
    """A launched batch."""

    def __init__(self, gated):
        self.gated = gated


class Direct:
    """Decoder that never has to decode, and notes when it is told that there is no room."""

    def __init__(self, *, needs_past=False, events=None):
        self.needs_past, self.events = needs_past, [] if events is None else events

    def decode(self, gated, task):
        for one in gated:
            if isinstance(one, NoRoom):
                self.events.append("no room")
            else:
                yield one.row, one.answer


def engine(gate, *, batch_tokens=40, window=100, num_workers=0, num_unread=0, needs_past=False):
    decoder = Direct(needs_past=needs_past, events=gate.events)
    prefetch = Prefetch(window=window, num_workers=num_workers)
    sizes = {"batch_tokens": batch_tokens, "prefetch": prefetch, "num_unread": num_unread}
    return Engine(gate, Lengths(), decoder, **sizes)


def answers(gate, texts, **options):
    return dict(engine(gate, **options).answers(map(Content, texts), TASK))


@pytest.mark.parametrize("num_unread", [0, 1])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_content_gets_the_answer_that_is_its_own(num_workers, num_unread):
    texts = ["x" * (n % 7 + 1) for n in range(50)]
    found = answers(LengthGate(), texts, window=8, num_workers=num_workers, num_unread=num_unread)
    assert {row: int(answer.vector[0]) for row, answer in found.items()} == {
        row: len(text) for row, text in enumerate(texts)
    }


def test_what_cannot_be_prepared_fails_alone():
    found = answers(LengthGate(), ["abc", "unreadable", "def"])
    assert found[1].reason == "ValueError: not a readable image"
    assert not isinstance(found[0], Failure)
    assert not isinstance(found[2], Failure)


@pytest.mark.parametrize(("fails_late", "num_unread"), [(False, 0), (True, 0), (True, 1)])
def test_one_bad_content_is_found_by_halving_and_the_others_are_encoded(fails_late, num_unread):
    texts = [f"{n:04}" for n in range(32)]
    gate = LengthGate(poison={"0019"}, fails_late=fails_late)
    found = answers(gate, texts, batch_tokens=4 * 32, num_unread=num_unread)
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


LAUNCHED_AHEAD = [
    ("launch", 0),
    ("launch", 2),
    ("read", 0),
    ("launch", 4),
    ("read", 2),
    ("read", 4),
]
"""The first contents of three batches of two."""


@pytest.mark.parametrize("window", [2, 4, 100])
def test_a_batch_is_read_when_the_next_has_been_launched_across_windows_too(window):
    gate = LengthGate()
    answers(gate, ["12345"] * 6, batch_tokens=10, window=window, num_unread=1)
    assert gate.events == LAUNCHED_AHEAD


def test_what_is_asked_of_one_batch_alone_is_read_without_another():
    gate = LengthGate()
    tested = engine(gate, num_unread=1)
    gated = tested.behind_gate([(7, Content("123"), Sample([0] * 3))], TASK)
    assert [one.row for one in gated] == [7]


def test_a_batch_that_fails_while_one_is_unread_is_tried_again_when_that_has_been_answered():
    gate = LengthGate()
    tested, check, calls = engine(gate, batch_tokens=10, num_unread=1), gate._check, []

    def second_time(rows):
        calls.append(rows[0][0])
        if calls == [0, 2]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        check(rows)

    gate._check = second_time
    answered = []
    for row, _ in tested.answers([Content("12345")] * 6, TASK):
        answered.append(row)
        gate.events.append(row)
    assert sorted(answered) == list(range(6))
    assert gate.events == [
        *(("launch", 0), ("launch", 2), ("read", 0), 0, 1, "no room"),
        *(("launch", 2), ("read", 2), 2, 3, ("launch", 4), ("read", 4), 4, 5),
    ]


@pytest.mark.parametrize(
    ("policy", "needs_past", "is_ahead"),
    [("never", True, True), ("auto", True, True), ("always", True, False), ("always", False, True)],
)
def test_keys_and_values_of_a_batch_that_all_reason_are_not_kept_beside_anothers(
    policy, needs_past, is_ahead
):
    gate = LengthGate()
    tested = engine(gate, batch_tokens=10, num_unread=1, needs_past=needs_past)
    dict(tested.answers([Content("12345")] * 6, Task("item", "describe", policy)))
    assert (gate.events == LAUNCHED_AHEAD) == is_ahead


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
    prefetch = Prefetch(window=9, num_workers=0)
    tested = Engine(LengthGate(), Lengths(), decoder, batch_tokens=40, prefetch=prefetch)
    found = dict(tested.answers([Content("1234")] * 4, TASK))
    assert decoder.calls == [[0, 1, 2, 3], [1], [2], [3]]
    assert not any(isinstance(answer, Failure) for answer in found.values())
