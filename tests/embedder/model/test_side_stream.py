"""Tests for side_stream.py: what is told to a GPU, and in which order, with doubles of its streams.

That copies and computing overlap can only be seen on a GPU.
"""

from contextlib import contextmanager

import pytest
import torch

from embedder.model import side_stream
from embedder.model.side_stream import beside_work


class Stream:
    """A stream that notes whom it waits for."""

    def __init__(self, name, events):
        self.name, self._events = name, events

    def wait_stream(self, other):
        self._events.append(f"{self.name} waits for {other.name}")


class Tensor:
    """A tensor that notes which stream its memory is kept for."""

    def __init__(self, events):
        self._events = events

    def record_stream(self, stream):
        self._events.append(f"kept for {stream.name}")


@pytest.fixture
def events(monkeypatch):
    found = []

    @contextmanager
    def within(stream):
        found.append(f"on {stream.name}")
        yield
        found.append(f"off {stream.name}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side", found))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("work", found))
    monkeypatch.setattr(torch.cuda, "stream", within)
    side_stream._side_stream.cache_clear()
    yield found
    side_stream._side_stream.cache_clear()


def test_what_is_made_beside_is_kept_for_the_work_which_waits_for_it(events):
    with beside_work(torch.device("cuda", 0)) as made:
        events.append("made")
        made.append(Tensor(events))
    assert events == ["on side", "made", "off side", "kept for work", "work waits for side"]


def test_a_device_has_one_side_stream(events):
    for _ in range(2):
        with beside_work(torch.device("cuda", 0)):
            pass
    assert side_stream._side_stream.cache_info().misses == 1


def test_on_a_cpu_no_stream_is_made(events):
    with beside_work(torch.device("cpu")) as made:
        made.append(torch.zeros(1))
    assert events == []
