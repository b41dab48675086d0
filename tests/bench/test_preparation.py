"""Tests for bench/preparation.py: what a content costs, and how much of it is waited for."""

import time
from types import SimpleNamespace

import pytest

from bench.preparation import preparation
from embedder.content import Content


class Sleeper:
    """Sleeps 1 ms to prepare a content and 3 ms to embed one, of which it has waited for 1 ms."""

    def __init__(self):
        self.waited_s = 7.0  # of calls before
        self.checkpoint = SimpleNamespace(inputs=self)

    def sample(self, content, instruction):
        time.sleep(0.001)

    def encode_items(self, contents):
        time.sleep(0.003 * len(contents))
        self.waited_s += 0.001 * len(contents)


def test_costs_are_those_of_one_content_and_waiting_is_a_share_of_embedding():
    found = preparation(Sleeper(), [Content("a kite")] * 8)
    assert 1.0 <= found["prepare_ms"] < 2.9  # nobody sleeps shorter than asked
    assert 3.0 <= found["embed_ms"] < 8.0
    assert found["waits"] == pytest.approx(1 / found["embed_ms"], abs=0.001)
