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
from recall.stages import Stages

T = TypeVar("T")

MAX_WAITING = 256
SMOOTHING = 0.2
TOO_MUCH_WAITS = "too many requests wait to be answered; try again later"
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
        self._seconds = 0.0

    @property
    def num_waiting(self) -> int:
        """Pieces of work that wait for a thread."""
        return self._free.statistics().tasks_waiting

    @property
    def num_running(self) -> int:
        """Pieces of work on a thread, those that nobody waits for any more among them."""
        return self._num - self._free.value

    def expected_wait_s(self) -> float:
        """Return in how many seconds work that comes now may begin, as the last ones went."""
        if self._free.value > 0:
            return 0.0
        return (self.num_waiting + 1) * self._seconds / self._num

    async def run(
        self, work: Callable[[], T], *, deadline: float | None = None, stages: Stages | None = None
    ) -> T:
        """Return what `work` returns, called on a thread.

        Work that is given up at the deadline keeps its thread until it ends, so that no more run
        than there are threads; it should know the deadline too.

        Args:
            work: what to do.
            deadline: a moment of `time.monotonic` after which nobody waits for it; None: no end.
            stages: told how long it waited for a thread.

        Raises:
            Busy: too much waits for a thread, so much that the deadline would pass, or no thread
                became free in time.
            OutOfTime: the deadline passed.
        """
        asked = time.perf_counter()
        left_s = math.inf if deadline is None else deadline - time.monotonic()
        expected_s = self.expected_wait_s()
        if self.num_waiting >= self._max_waiting or expected_s > left_s > 0:
            raise Busy(TOO_MUCH_WAITS, retry_after_s=expected_s)
        try:
            with anyio.fail_after(min(self._wait_s, left_s)):
                await self._free.acquire()
        except TimeoutError:
            if left_s <= self._wait_s:
                raise OutOfTime(DEADLINE_PASSED) from None
            raise Busy(TOO_MUCH_WAITS, retry_after_s=self.expected_wait_s()) from None
        held = _Held(work, self._free, self._learn, stages, asked=asked)
        left_s = math.inf if deadline is None else deadline - time.monotonic()
        try:
            with anyio.move_on_after(left_s):  # an error of the work, of whatever kind, is its own
                return await to_thread.run_sync(
                    held, abandon_on_cancel=True, limiter=self._unlimited
                )
            raise OutOfTime(DEADLINE_PASSED)
        finally:
            held.give_up()

    def _learn(self, seconds: float) -> None:
        before = self._seconds
        self._seconds += (SMOOTHING if before else 1.0) * (seconds - before)


class _Held(Generic[T]):
    """Work that holds a thread: it is given back once, when the work ends or never begins."""

    def __init__(
        self,
        work: Callable[[], T],
        free: anyio.Semaphore,
        learn: Callable[[float], None],
        stages: Stages | None,
        *,
        asked: float,
    ) -> None:
        self._work, self._free, self._learn = work, free, learn
        self._stages, self._asked = stages, asked
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._has_begun = False

    def __call__(self) -> T:
        with self._lock:
            if self._has_begun:
                raise OutOfTime(DEADLINE_PASSED)  # nobody is there to hear it
            self._has_begun = True
        began = time.perf_counter()
        if self._stages is not None:
            self._stages.add("wait", 1000 * (began - self._asked))
        try:
            return self._work()
        finally:
            self._learn(time.perf_counter() - began)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._free.release)

    def give_up(self) -> None:
        """Give the thread back unless the work has begun, which will do it."""
        with self._lock:
            if not self._has_begun:
                self._has_begun = True
                self._free.release()
