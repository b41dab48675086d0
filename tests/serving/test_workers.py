"""Tests for serving/workers.py: a bounded number of threads, and nobody waits beyond a deadline."""

import asyncio
import threading
import time

import pytest

from recall.errors import Busy, OutOfTime
from recall.stages import Stages
from serving.workers import Workers


def test_work_that_is_given_up_keeps_its_thread_until_it_ends():
    release = threading.Event()

    async def ask():
        workers = Workers(1, wait_s=0.05)
        with pytest.raises(OutOfTime):
            await workers.run(lambda: release.wait(20), deadline=time.monotonic() + 0.05)
        assert workers.num_running == 1
        with pytest.raises(Busy):
            await workers.run(lambda: 1)
        release.set()
        for _ in range(500):
            if workers.num_running == 0:
                break
            await asyncio.sleep(0.01)
        assert await workers.run(lambda: 2) == 2
        assert workers.num_running == 0

    asyncio.run(ask())


def test_a_deadline_counts_the_wait_for_a_thread():
    release, ran = threading.Event(), []

    async def ask():
        workers = Workers(1, wait_s=20)
        holding = asyncio.create_task(workers.run(lambda: release.wait(20)))
        await asyncio.sleep(0.02)
        with pytest.raises(OutOfTime):
            await workers.run(lambda: ran.append(1), deadline=time.monotonic() + 0.05)
        release.set()
        assert await holding

    asyncio.run(ask())
    assert ran == []


def test_work_that_ends_just_after_its_deadline_is_out_of_time():
    async def ask():
        workers, loop = Workers(1, wait_s=1), asyncio.get_running_loop()
        # The loop sees the deadline late, and says so when the work has ended.
        loop.call_later(0.045, time.sleep, 0.02)
        loop.call_later(0.055, time.sleep, 0.05)
        with pytest.raises(OutOfTime):
            await workers.run(lambda: time.sleep(0.08), deadline=time.monotonic() + 0.05)

    asyncio.run(ask())


def test_more_than_may_wait_are_refused_at_once():
    release = threading.Event()

    async def ask():
        workers = Workers(1, wait_s=20, max_waiting=1)
        asked = [asyncio.create_task(workers.run(lambda: release.wait(20))) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert workers.num_waiting == 1
        with pytest.raises(Busy):
            await workers.run(lambda: 1)
        release.set()
        assert await asyncio.gather(*asked) == [True, True]

    asyncio.run(ask())


def test_a_deadline_that_would_pass_while_it_waits_is_refused_at_once_with_a_time():
    release = threading.Event()

    async def ask():
        workers = Workers(1, wait_s=20)
        await workers.run(lambda: time.sleep(0.2))  # by which it knows how long work takes
        holding = asyncio.create_task(workers.run(lambda: release.wait(20)))
        await asyncio.sleep(0.02)
        began = time.monotonic()
        with pytest.raises(Busy) as refused:
            await workers.run(lambda: 1, deadline=began + 0.1)
        assert time.monotonic() - began < 0.1
        assert refused.value.retry_after_s >= 0.2
        patient = asyncio.create_task(workers.run(lambda: 1, deadline=began + 20))
        await asyncio.sleep(0)
        release.set()
        assert (await holding, await patient) == (True, 1)

    asyncio.run(ask())


def test_the_wait_for_a_thread_is_told():
    async def ask():
        workers, stages = Workers(1, wait_s=20), Stages()
        holding = asyncio.create_task(workers.run(lambda: time.sleep(0.1)))
        await asyncio.sleep(0.01)
        await workers.run(lambda: 1, stages=stages)
        await holding
        return stages.timings_ms["wait"]

    assert 50 < asyncio.run(ask()) < 5_000


def test_an_error_of_the_work_is_the_works_own():
    def fail():
        raise TimeoutError("mine")

    async def ask():
        workers = Workers(1, wait_s=1)
        with pytest.raises(TimeoutError, match="mine"):
            await workers.run(fail, deadline=time.monotonic() + 20)
        assert await workers.run(lambda: 3) == 3

    asyncio.run(ask())
