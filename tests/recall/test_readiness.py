"""Tests for recall/readiness.py: what a server tells while it turns new rows into an index."""

from types import SimpleNamespace

import pytest

from recall import readiness
from recall.readiness import wait_until_indexed

# As Milvus 2.3.5 told it after a flush of 20,000 rows: (rows, pending, loaded segments).
GROWING = (20_000, 20_000, [])
INDEXED_NOT_LOADED = (20_000, 0, [(20_000, "")])
READY = (20_000, 0, [(20_000, "vector")])
SMALL = (900, 900, [(900, "")])


class Server:
    """Answers what it is told to, one after the other, the last one for ever."""

    def __init__(self, *told):
        self.told = list(told)

    def describe_index(self, name, field):
        rows, pending, _ = self.told[0]
        return {"total_rows": rows, "pending_index_rows": pending}

    def list_loaded_segments(self, name):
        _, _, segments = self.told[0]
        if len(self.told) > 1:
            self.told.pop(0)
        return [
            SimpleNamespace(segment_id=n, num_rows=rows, index_name=index)
            for n, (rows, index) in enumerate(segments)
        ]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(readiness, "POLL_S", 0)


def test_it_waits_until_every_segment_is_loaded_with_its_index():
    server = Server(GROWING, INDEXED_NOT_LOADED, (20_000, 0, [(8_000, "vector")]), READY)
    assert wait_until_indexed(server, "items_v1", timeout_s=60)
    assert server.told == [READY]


def test_a_segment_that_names_another_index_is_asked_again():
    halves = [[(10_000, "category"), (10_000, "vector")], [(10_000, "vector"), (10_000, "place")]]
    told = [(20_000, 0, segments) for segments in halves]
    server = Server((20_000, 9, halves[0]), told[0], told[0], told[1], READY)
    assert wait_until_indexed(server, "items_v1", timeout_s=60)
    assert server.told == [READY]


def test_a_segment_that_never_names_its_vectors_is_waited_for_a_while(monkeypatch):
    monkeypatch.setattr(readiness, "NAMING_S", 0)
    server = Server((20_000, 0, [(20_000, "category")]))
    assert wait_until_indexed(server, "items_v1", timeout_s=60)


def test_a_small_segment_is_never_indexed_and_not_waited_for():
    assert wait_until_indexed(Server(SMALL), "items_v1", timeout_s=60)


def test_it_says_when_the_time_is_up(caplog):
    assert not wait_until_indexed(Server(GROWING), "items_v1", timeout_s=0)
    assert "items_v1 is still not indexed" in caplog.text
