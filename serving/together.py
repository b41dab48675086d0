"""Pieces of work that come at once, done together: one hand-over to a thread, and one call."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from recall.errors import Busy, OutOfTime
from recall.stages import Stages
from serving.workers import DEADLINE_PASSED, MAX_WAITING, SMOOTHING, TOO_MUCH_WAITS, Workers

P = TypeVar("P")
T = TypeVar("T")

MAX_PIECES = 16
"""Done together at most. Half of what the encoder answers at once: two threads share it."""

MAX_THREADS = 4
"""That do pieces that are alike at a time, for a search may wait for a server."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[P, T]):
    piece: P
    stages: Stages
    answer: "asyncio.Future[T]"
    asked: float = field(default_factory=time.perf_counter)


@dataclass(slots=True, eq=False)
class _Queue(Generic[P, T]):
    """Pieces that are alike."""

    waiting: "deque[_Waiting[P, T]]" = field(default_factory=deque)
    num_threads: int = 0


class Together(Generic[P, T]):
    """Does what waits as soon as a thread is free: alone who comes alone, and a crowd at once."""

    def __init__(
        self,
        workers: Workers,
        work: Callable[[Sequence[P]], Sequence[T | Exception]],
        *,
        wait_s: float,
    ) -> None:
        """Do nothing yet.

        Args:
            workers: threads that do it.
            work: what is done with pieces that are alike; each has a result or an error of its own.
            wait_s: seconds that a piece waits at most.
        """
        self._workers, self._work, self._wait_s = workers, work, wait_s
        self._queues: dict[Hashable, _Queue[P, T]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._seconds = 0.0

    @property
    def num_waiting(self) -> int:
        """Pieces that wait for a thread."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    async def run(self, piece: P, *, alike: Hashable, deadline: float | None, stages: Stages) -> T:
        """Return what is made of a piece.

        Args:
            piece: what to do it with.
            alike: equal for pieces that may be done together.
            deadline: a moment of `time.monotonic` after which nobody waits for it; None: no end.
            stages: told how long it waited for a thread.

        Raises:
            Busy: too much waits, so much that the deadline would pass, or it waited too long.
            OutOfTime: the deadline passed.
        """
        queue = self._queues.get(alike) or _Queue[P, T]()
        left_s = None if deadline is None else deadline - time.monotonic()
        expected_s = self._expected_wait_s(queue)
        if self.num_waiting >= MAX_WAITING or (left_s is not None and expected_s > left_s > 0):
            raise Busy(TOO_MUCH_WAITS, retry_after_s=expected_s)
        one = _Waiting[P, T](piece, stages, asyncio.get_running_loop().create_future())
        self._queues[alike] = queue
        queue.waiting.append(one)
        if queue.num_threads < MAX_THREADS:
            queue.num_threads += 1
            task = asyncio.create_task(self._do_what_waits(queue, alike))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(None if left_s is None else max(0.0, left_s)):
                return await one.answer
        except OutOfTime:  # the work's own
            raise
        except TimeoutError:
            raise OutOfTime(DEADLINE_PASSED) from None

    def _expected_wait_s(self, queue: _Queue[P, T]) -> float:
        """Return in how many seconds a piece that comes now may begin, as the last ones went."""
        return len(queue.waiting) // MAX_PIECES / MAX_THREADS * self._seconds

    async def _do_what_waits(self, queue: _Queue[P, T], alike: Hashable) -> None:
        try:
            while some := self._taken(queue):
                began = time.perf_counter()
                for one in some:
                    one.stages.add("wait", 1000 * (began - one.asked))
                for one, result in zip(some, await self._results(some), strict=True):
                    _tell(one.answer, result)
                self._seconds += SMOOTHING * (time.perf_counter() - began - self._seconds)
        finally:
            queue.num_threads -= 1
            if not queue.num_threads and self._queues.get(alike) is queue:
                del self._queues[alike]

    async def _results(self, some: Sequence[_Waiting[P, T]]) -> Sequence[T | Exception]:
        try:
            return await self._workers.run(lambda: self._work([one.piece for one in some]))
        except Exception as error:  # of whatever kind: it is told to those who asked
            return [error] * len(some)

    def _taken(self, queue: _Queue[P, T]) -> list[_Waiting[P, T]]:
        """Take the next pieces out of a queue, but for those that nobody waits for any more."""
        some, now = list[_Waiting[P, T]](), time.perf_counter()
        while queue.waiting and len(some) < MAX_PIECES:
            one = queue.waiting.popleft()
            if one.answer.done():
                continue
            if now - one.asked > self._wait_s:
                wait_s = self._expected_wait_s(queue)
                _tell(one.answer, Busy(TOO_MUCH_WAITS, retry_after_s=wait_s))
            else:
                some.append(one)
        return some


def _tell(answer: "asyncio.Future[T]", result: T | Exception) -> None:
    if answer.done():  # given up
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
