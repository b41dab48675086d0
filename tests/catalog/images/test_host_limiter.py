"""Tests for catalog/images/host_limiter.py: shares of hosts, without sleeping."""

import threading
from collections import Counter

import pytest

from catalog.images.host_limiter import HostLimiter


@pytest.fixture
def open_limiter():
    opened = []

    def make(**options):
        opened.append(HostLimiter(**options))
        return opened[-1]

    yield make
    for limiter in opened:
        limiter.close()


def test_every_task_runs_and_gives_its_own_result(open_limiter):
    limiter = open_limiter(max_threads=3, per_host=2)
    futures = [limiter.submit(f"h{n % 5}", lambda n=n: n * n) for n in range(100)]
    assert [future.result(timeout=5) for future in futures] == [n * n for n in range(100)]


def test_a_host_never_has_more_than_its_share(open_limiter):
    limiter = open_limiter(max_threads=8, per_host=2)
    lock, running, most = threading.Lock(), Counter(), Counter()

    def task(host):
        with lock:
            running[host] += 1
            most[host] = max(most[host], running[host])
        threading.Event().wait(0.002)
        with lock:
            running[host] -= 1

    for future in [limiter.submit(h, lambda h=h: task(h)) for h in "aabbab" * 10]:
        future.result(timeout=5)
    assert most == {"a": 2, "b": 2}


def test_a_host_that_hangs_leaves_the_threads_to_the_others(open_limiter):
    limiter, release = open_limiter(max_threads=2, per_host=1), threading.Event()
    hanging = [limiter.submit("slow", lambda: release.wait(5)) for _ in range(10)]
    quick = [limiter.submit("quick", lambda n=n: n) for n in range(10)]
    assert [future.result(timeout=5) for future in quick] == list(range(10))
    assert not any(future.done() for future in hanging)
    release.set()
    assert all(future.result(timeout=5) for future in hanging)


def test_a_task_that_fails_tells_so_and_frees_its_place(open_limiter):
    limiter = open_limiter(max_threads=1, per_host=1)
    failed = limiter.submit("a", lambda: 1 // 0)
    assert limiter.submit("a", lambda: 7).result(timeout=5) == 7
    assert isinstance(failed.exception(timeout=5), ZeroDivisionError)


def test_a_task_that_is_cancelled_in_time_is_skipped(open_limiter):
    limiter, gate, ran = open_limiter(max_threads=1, per_host=1), threading.Event(), []
    limiter.submit("a", lambda: gate.wait(5))
    cancelled = limiter.submit("a", lambda: ran.append(1))
    last = limiter.submit("a", lambda: 7)
    assert cancelled.cancel()
    gate.set()
    assert last.result(timeout=5) == 7
    assert ran == []


def test_closing_drops_what_has_not_begun(open_limiter):
    limiter, begun, release = open_limiter(max_threads=1, per_host=1), threading.Event(), []
    first = limiter.submit("a", lambda: begun.set() or 1)
    begun.wait(5)
    assert first.result(timeout=5) == 1
    gate = threading.Event()
    limiter.submit("a", lambda: gate.wait(5))
    second = limiter.submit("a", lambda: release.append(1))
    threading.Timer(0.05, gate.set).start()
    limiter.close()
    assert not second.done()
    assert release == []
