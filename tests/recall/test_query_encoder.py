"""Tests for recall/query_encoder.py: many threads ask, one encodes what waits, together."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embedder.content import Content, Encoding
from embedder.query_batch import GroupedQueries
from recall.errors import Busy, InvalidQuery, OutOfTime, Unavailable
from recall.query_encoder import QueryEncoder, QueryEncoderConfig

NUM_CLIENTS = 24


class Recording:
    """An encoder whose vector is its text's length; it records its batches, and may be held up."""

    version, dim = "v1", 1

    def __init__(self, *, is_open=True):
        self.batches, self.threads = [], set()
        self.gate = threading.Event()
        self.entered = threading.Event()
        if is_open:
            self.gate.set()

    def encode_query(self, queries, *, policy=None, deadline_s=None, max_new_tokens=None):
        self.entered.set()
        assert self.gate.wait(20)
        self.threads.add(threading.current_thread().name)
        self.batches.append([query.text for query in queries])
        if any(query.text == "bad" for query in queries):
            raise ValueError("cannot be read")
        return [Encoding(np.array([len(q.text)]), "direct", 0.0) for q in queries]


def held_up(config=None):
    """An encoder that is busy with a first query, and its queue."""
    model = Recording(is_open=False)
    queue = QueryEncoder(lambda version: model, config)
    first = queue.submit(Content("first"), "v1")
    assert model.entered.wait(20)
    return model, queue, first


def test_what_waits_together_is_encoded_together_and_each_gets_its_own():
    model, queue, first = held_up()
    texts = ["x" * n for n in range(1, NUM_CLIENTS + 1)]
    answers = [queue.submit(Content(text), "v1") for text in texts]
    assert queue.num_waiting == NUM_CLIENTS
    model.gate.set()
    assert [a.result(20).encoding.vector[0] for a in answers] == [len(text) for text in texts]
    assert model.batches == [["first"], texts]
    assert model.threads == {"encoder"}
    assert first.result(0).encoding.vector[0] == 5


def test_queries_that_never_reason_do_not_wait_for_those_that_may():
    model, queue, _ = held_up()
    queue.submit(Content("slow"), "v1", policy="always")
    fast = queue.submit(Content("fast"), "v1", policy="never")
    model.gate.set()
    fast.result(20)
    assert model.batches[1] == ["fast"]


def test_a_query_that_cannot_be_read_fails_alone():
    model, queue, _ = held_up()
    good, bad = (queue.submit(Content(text), "v1") for text in ("good", "bad"))
    model.gate.set()
    assert good.result(20).encoding.vector[0] == 4
    with pytest.raises(InvalidQuery, match="cannot be read"):
        bad.result(20)


class Breaking(GroupedQueries):
    """A batch whose model fails as a whole, once it has three queries."""

    def advance(self):
        if self.num_under_way == 3:
            raise RuntimeError("the device is lost")
        return []


class BreaksOnce(Recording):
    """An encoder whose first batch breaks."""

    def __init__(self):
        super().__init__()
        self.batch = Breaking(self)

    def query_batch(self):
        broken, self.batch = self.batch, None
        return broken


def test_a_model_that_fails_is_told_once_and_goes_on(caplog):
    model = BreaksOnce()
    queue = QueryEncoder(lambda version: model)
    asked = [queue.submit(Content("a"), "v1") for _ in range(3)]
    for each in asked:
        with pytest.raises(Unavailable, match="ask again"):
            each.result(20)
    assert [record.message for record in caplog.records] == ["the encoder of version 'v1' failed"]
    assert queue.submit(Content("good"), "v1").result(20).encoding.vector[0] == 4


def test_a_full_queue_refuses_and_says_when_to_come_again():
    model, queue, _ = held_up(QueryEncoderConfig(max_waiting=2))
    waiting = [queue.submit(Content("a"), "v1") for _ in range(2)]
    with pytest.raises(Busy, match="2 queries wait") as refused:
        queue.submit(Content("b"), "v1")
    assert refused.value.retry_after_s >= 0
    model.gate.set()
    for each in waiting:
        each.result(20)


def test_a_deadline_counts_the_time_in_the_queue():
    model, queue, _ = held_up()
    late = queue.submit(Content("late"), "v1", deadline=time.monotonic() + 0.05)
    time.sleep(0.1)
    model.gate.set()
    with pytest.raises(OutOfTime):
        late.result(20)
    assert ["late"] not in model.batches


def test_a_query_that_its_client_gave_up_is_not_encoded():
    model, queue, _ = held_up()
    gone, other = (queue.submit(Content(text), "v1") for text in ("gone", "other"))
    assert gone.cancel()
    model.gate.set()
    other.result(20)
    assert model.batches == [["first"], ["other"]]


def test_other_work_has_the_encoder_to_itself_and_its_errors_come_back():
    model = Recording()
    queue = QueryEncoder(lambda version: model)
    assert queue.run("v1", lambda encoder: (encoder, threading.current_thread().name)) == (
        model,
        "encoder",
    )
    with pytest.raises(ZeroDivisionError):
        queue.run("v1", lambda encoder: 1 / 0)
    assert queue.submit(Content("on"), "v1").result(20).encoding.vector[0] == 2


def test_a_version_is_loaded_once_by_whoever_asks_first_and_the_last_two_are_kept():
    loaded = []

    def encoder_of(version):
        loaded.append((version, threading.current_thread().name))
        return Recording()

    queue = QueryEncoder(encoder_of)
    with ThreadPoolExecutor(8, thread_name_prefix="client") as clients:
        futures = list(clients.map(lambda _: queue.submit(Content("x"), "v1"), range(8)))
    for version in ("v2", "v1", "v3"):
        futures.append(queue.submit(Content("x"), version))
        futures[-1].result(20)
    for future in futures:
        future.result(20)
    queue.submit(Content("x"), "v1").result(20)
    queue.submit(Content("x"), "v2").result(20)  # v2 was asked longest ago when v3 came
    assert [version for version, _ in loaded] == ["v1", "v2", "v3", "v2"]
    assert all(thread != "encoder" for _, thread in loaded)


def test_a_version_without_an_encoder_is_unavailable():
    with pytest.raises(Unavailable, match="no encoder for version 'v9'"):
        QueryEncoder({}.__getitem__).submit(Content("x"), "v9")


def test_an_encoder_that_hangs_is_seen():
    model, queue, first = held_up()
    time.sleep(0.05)
    assert 0.05 <= queue.stuck_s() < 20
    model.gate.set()
    first.result(20)
    for _ in range(100):
        if queue.stuck_s() == 0:
            break
        time.sleep(0.02)
    assert queue.stuck_s() == 0
