"""Threads that answer, some of them for each purpose, so that one cannot take those of another."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from recall.errors import Busy, OutOfTime

T = TypeVar("T")

MAX_WAITING = 256
DEADLINE_PASSED = "the deadline passed before there was an answer"


class Workers:
    """A number of threads that blocking work runs on."""

    def __init__(self, num: int, *, wait_s: float, max_waiting: int = MAX_WAITING) -> None:
        """Run `num` pieces of work at a time; others wait for a thread.

        Args:
            num: threads.
            wait_s: seconds that work waits at most.
            max_waiting: pieces that wait at most; above it work is refused at once.
        """
        self._num, self._wait_s, self._max_waiting = num, wait_s, max_waiting
        self._free = anyio.Semaphore(num)
        self._unlimited = CapacityLimiter(math.inf)  # the semaphore counts

    @property
    def num_waiting(self) -> int:
        """Pieces of work that wait for a thread."""
        return self._free.statistics().tasks_waiting

    @property
    def num_running(self) -> int:
        """Pieces of work on a thread, those that nobody waits for any more among them."""
        return self._num - self._free.value

    async def run(self, work: Callable[[], T], *, deadline: float | None = None) -> T:
        """Return what `work` returns, called on a thread.

        Work that is given up at the deadline keeps its thread until it ends, so that no more run
        than there are threads; it should know the deadline too.

        Args:
            work: what to do.
            deadline: a moment of `time.monotonic` after which nobody waits for it; None: no end.

        Raises:
            Busy: too much waits for a thread, or no thread became free in time.
            OutOfTime: the deadline passed.
        """
        if self.num_waiting >= self._max_waiting:
            raise Busy("too many requests wait to be answered; try again later")
        left_s = math.inf if deadline is None else deadline - time.monotonic()
        try:
            with anyio.fail_after(min(self._wait_s, left_s)):
                await self._free.acquire()
        except TimeoutError:
            if left_s <= self._wait_s:
                raise OutOfTime(DEADLINE_PASSED) from None
            raise Busy("too many requests wait to be answered; try again later") from None
        held = _Held(work, self._free)
        try:
            with anyio.fail_after(None if deadline is None else deadline - time.monotonic()):
                return await to_thread.run_sync(
                    held, abandon_on_cancel=True, limiter=self._unlimited
                )
        except TimeoutError:
            if not held.is_given_up:  # the work itself ran out of some time
                raise
            raise OutOfTime(DEADLINE_PASSED) from None
        finally:
            held.give_up()


class _Held(Generic[T]):
    """Work that holds a thread: it is given back once, when the work ends or never begins."""

    def __init__(self, work: Callable[[], T], free: anyio.Semaphore) -> None:
        self._work, self._free = work, free
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._has_begun = self._has_ended = False

    @property
    def is_given_up(self) -> bool:
        return not self._has_ended

    def __call__(self) -> T:
        with self._lock:
            if self._has_begun:
                raise OutOfTime(DEADLINE_PASSED)  # nobody is there to hear it
            self._has_begun = True
        try:
            return self._work()
        finally:
            self._has_ended = True
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._free.release)

    def give_up(self) -> None:
        """Give the thread back unless the work has begun, which will do it."""
        with self._lock:
            if not self._has_begun:
                self._has_begun = True
                self._free.release()
