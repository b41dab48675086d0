"""Tests for catalog/images/host_limiter.py: shares of hosts, without sleeping."""

import threading
from collections import Counter

import pytest

from catalog.images.host_limiter import HostLimiter


@pytest.fixture
def open_lanes():
    opened = []

    def make(**options):
        opened.append(HostLimiter(**options))
        return opened[-1]

    yield make
    for lanes in opened:
        lanes.close()


def test_every_task_runs_and_gives_its_own_result(open_lanes):
    lanes = open_lanes(max_threads=3, per_host=2)
    futures = [lanes.submit(f"h{n % 5}", lambda n=n: n * n) for n in range(100)]
    assert [future.result(timeout=5) for future in futures] == [n * n for n in range(100)]


def test_a_host_never_has_more_than_its_share(open_lanes):
    lanes = open_lanes(max_threads=8, per_host=2)
    lock, running, most = threading.Lock(), Counter(), Counter()

    def task(host):
        with lock:
            running[host] += 1
            most[host] = max(most[host], running[host])
        threading.Event().wait(0.002)
        with lock:
            running[host] -= 1

    for future in [lanes.submit(h, lambda h=h: task(h)) for h in "aabbab" * 10]:
        future.result(timeout=5)
    assert most == {"a": 2, "b": 2}


def test_a_host_that_hangs_leaves_the_threads_to_the_others(open_lanes):
    lanes, release = open_lanes(max_threads=2, per_host=1), threading.Event()
    hanging = [lanes.submit("slow", lambda: release.wait(5)) for _ in range(10)]
    quick = [lanes.submit("quick", lambda n=n: n) for n in range(10)]
    assert [future.result(timeout=5) for future in quick] == list(range(10))
    assert not any(future.done() for future in hanging)
    release.set()
    assert all(future.result(timeout=5) for future in hanging)


def test_a_task_that_fails_tells_so_and_frees_its_place(open_lanes):
    lanes = open_lanes(max_threads=1, per_host=1)
    failed = lanes.submit("a", lambda: 1 // 0)
    assert lanes.submit("a", lambda: 7).result(timeout=5) == 7
    assert isinstance(failed.exception(timeout=5), ZeroDivisionError)


def test_a_task_that_is_cancelled_in_time_is_skipped(open_lanes):
    lanes, gate, ran = open_lanes(max_threads=1, per_host=1), threading.Event(), []
    lanes.submit("a", lambda: gate.wait(5))
    cancelled = lanes.submit("a", lambda: ran.append(1))
    last = lanes.submit("a", lambda: 7)
    assert cancelled.cancel()
    gate.set()
    assert last.result(timeout=5) == 7
    assert ran == []


def test_closing_drops_what_has_not_begun(open_lanes):
    lanes, begun, release = open_lanes(max_threads=1, per_host=1), threading.Event(), []
    first = lanes.submit("a", lambda: begun.set() or 1)
    begun.wait(5)
    assert first.result(timeout=5) == 1
    gate = threading.Event()
    lanes.submit("a", lambda: gate.wait(5))
    second = lanes.submit("a", lambda: release.append(1))
    threading.Timer(0.05, gate.set).start()
    lanes.close()
    assert not second.done()
    assert release == []
