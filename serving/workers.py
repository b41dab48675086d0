"""Threads that answer, some of them for each purpose, so that one cannot take those of another."""

from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from recall.errors import Unavailable

T = TypeVar("T")


class Workers:
    """A number of threads that blocking work runs on."""

    def __init__(self, num: int, *, wait_s: float) -> None:
        """Run `num` pieces of work at a time; others wait at most `wait_s` seconds for a thread."""
        self._wait_s = wait_s
        self._free = anyio.Semaphore(num)
        self._limiter = CapacityLimiter(num)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, called on a thread.

        Raises:
            Unavailable: no thread became free in time.
        """
        try:
            with anyio.fail_after(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable("too many requests wait to be answered; try again later") from None
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._free.release()
