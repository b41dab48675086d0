"""Tests for serving/together.py: what comes at once is done at once, and each has its own end."""

import asyncio
import threading
import time
from itertools import chain

import pytest

from recall.errors import Busy, OutOfTime
from recall.stages import Stages
from serving.together import MAX_PIECES, MAX_THREADS, Together
from serving.workers import MAX_WAITING, Workers


def together(work, *, wait_s=20):
    return Together(Workers(40, wait_s=20), work, wait_s=wait_s)


async def ask(some, piece, *, alike=None, deadline=None, stages=None):
    return await some.run(piece, alike=alike, deadline=deadline, stages=stages or Stages())


class HeldUp:
    """Doubles numbers, in groups that it records, once it is let."""

    def __init__(self):
        self.groups, self.go = [], threading.Event()

    def __call__(self, numbers):
        self.groups.append(list(numbers))
        assert self.go.wait(20)
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


async def held_up_threads(some, work):
    """Occupy all threads, each by a piece of its own."""
    first, before = [], len(work.groups)
    for number in range(MAX_THREADS):
        first.append(asyncio.create_task(ask(some, number)))
        while len(work.groups) <= before + number:
            await asyncio.sleep(0.001)
    return first


def test_what_waits_is_done_together_in_order_and_each_gets_its_own():
    work = HeldUp()

    async def run():
        some = together(work)
        first = await held_up_threads(some, work)
        numbers = range(100, 100 + 2 * MAX_PIECES + 1)
        rest = [asyncio.create_task(ask(some, number)) for number in numbers]
        await asyncio.sleep(0.01)
        assert some.num_waiting == len(numbers)
        work.go.set()
        assert await asyncio.gather(*first) == [2 * n for n in range(MAX_THREADS)]
        assert await asyncio.gather(*rest) == [2 * n for n in numbers]
        assert some.num_waiting == 0
        assert await ask(some, 7) == 14  # and again, alone

    asyncio.run(run())
    groups = work.groups[MAX_THREADS:-1]
    assert sorted(map(len, groups)) == [1, MAX_PIECES, MAX_PIECES]
    assert sorted(chain(*groups)) == list(range(100, 100 + 2 * MAX_PIECES + 1))
    assert all(group == sorted(group) for group in groups)


def test_an_error_is_of_the_piece_and_a_failure_of_all_of_its_group():
    work = HeldUp()

    async def run():
        some = together(work)
        first = await held_up_threads(some, work)
        rest = [asyncio.create_task(ask(some, number)) for number in (-1, 5)]
        work.go.set()
        await asyncio.gather(*first)
        with pytest.raises(ValueError, match="-1"):
            await rest[0]
        assert await rest[1] == 10
        failing = together(lambda pieces: 1 // 0)
        for error in await asyncio.gather(
            *(ask(failing, n) for n in (1, 2)), return_exceptions=True
        ):
            assert isinstance(error, ZeroDivisionError)

    asyncio.run(run())


def test_a_deadline_ends_the_wait_and_what_nobody_waits_for_is_not_done():
    work = HeldUp()

    async def run():
        some = together(work)
        first = await held_up_threads(some, work)
        with pytest.raises(OutOfTime):
            await ask(some, 50, deadline=time.monotonic() + 0.05)
        work.go.set()
        await asyncio.gather(*first)
        assert await ask(some, 60) == 120

    asyncio.run(run())
    assert work.groups[MAX_THREADS:] == [[60]]


def test_what_waits_too_long_or_among_too_many_is_busy():
    work = HeldUp()

    async def run():
        some = together(work, wait_s=0.05)
        first = await held_up_threads(some, work)
        late = [asyncio.create_task(ask(some, n)) for n in range(MAX_WAITING)]
        await asyncio.sleep(0.1)
        with pytest.raises(Busy):
            await ask(some, 1)  # one too many
        work.go.set()
        assert await asyncio.gather(*first) == [2 * n for n in range(MAX_THREADS)]
        for error in await asyncio.gather(*late, return_exceptions=True):
            assert isinstance(error, Busy)

    asyncio.run(run())
    assert len(work.groups) == MAX_THREADS


def test_what_would_wait_beyond_its_deadline_is_busy_at_once():
    work = HeldUp()

    async def run():
        some = together(work)
        first = await held_up_threads(some, work)
        await asyncio.sleep(0.2)
        work.go.set()
        await asyncio.gather(*first)  # so it learns how long a group takes, a fifth of .2 s each
        work.go.clear()
        first = await held_up_threads(some, work)
        rest = [asyncio.create_task(ask(some, n)) for n in range(4 * MAX_PIECES * MAX_THREADS - 1)]
        await asyncio.sleep(0.01)
        assert some._expected_wait_s(some._queues[None]) > 0.05
        with pytest.raises(Busy) as refused:
            await ask(some, 1, deadline=time.monotonic() + 0.05)
        assert refused.value.retry_after_s > 0.05
        work.go.set()
        await asyncio.gather(*first, *rest)

    asyncio.run(run())


def test_what_is_not_alike_is_not_done_together_and_does_not_wait_for_it():
    work, other = HeldUp(), []

    async def run():
        some = Together(
            Workers(40, wait_s=20),
            lambda pieces: work(pieces) if pieces[0] < 100 else other.append(pieces) or pieces,
            wait_s=20,
        )
        first = await held_up_threads(some, work)
        assert await ask(some, 100, alike="other") == 100
        waiting = [asyncio.create_task(ask(some, 5)), asyncio.create_task(ask(some, 6))]
        assert await ask(some, 101, alike="other") == 101
        work.go.set()
        assert await asyncio.gather(*waiting) == [10, 12]
        await asyncio.gather(*first)
        await asyncio.sleep(0)
        assert not some._queues  # nothing is kept of what is done

    asyncio.run(run())
    assert other == [[100], [101]]


def test_the_wait_is_told_as_a_stage():
    work, stages = HeldUp(), Stages()

    async def run():
        some = together(work)
        first = await held_up_threads(some, work)
        waiting = asyncio.create_task(ask(some, 1, stages=stages))
        await asyncio.sleep(0.05)
        work.go.set()
        await asyncio.gather(*first, waiting)

    asyncio.run(run())
    assert stages.timings_ms["wait"] >= 45
