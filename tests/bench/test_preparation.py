"""Tests for bench/preparation.py: what a content costs, and how much of it is waited for."""

import time
from types import SimpleNamespace

from bench.preparation import preparation
from embedder.content import Content


class Ticker:
    """Takes 1 ms to prepare a content and 3 ms to embed one, of which it has waited for 1 ms."""

    def __init__(self):
        self.now_s = 100.0
        self.waited_s = 7.0  # of calls before
        self.checkpoint = SimpleNamespace(inputs=self)

    def sample(self, content, instruction):
        self.now_s += 0.001

    def encode_items(self, contents):
        self.now_s += 0.003 * len(contents)
        self.waited_s += 0.001 * len(contents)


def test_costs_are_those_of_one_content_and_waiting_is_a_share_of_embedding(monkeypatch):
    ticker = Ticker()
    monkeypatch.setattr(time, "perf_counter", lambda: ticker.now_s)
    found = preparation(ticker, [Content("a kite")] * 8)
    assert found == {"prepare_ms": 1.0, "embed_ms": 3.0, "waits": 0.333}
