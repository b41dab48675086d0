"""Concurrency limit per host: a thread pool in which none takes more than its share."""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class HostLimiter:
    """Runs tasks in threads: first come first served, but only a few at a time per host.

    A task that must wait for its host waits in a queue and not in a thread, so that a slow host
    leaves the threads to the others.
    """

    def __init__(self, *, max_threads: int, per_host: int) -> None:
        """Start no thread yet.

        Args:
            max_threads: tasks run at once.
            per_host: of these, tasks of one host.
        """
        self._pool = ThreadPoolExecutor(max_threads, thread_name_prefix="images")
        self._per_host = per_host
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = defaultdict(
            deque
        )

    def submit(self, host: str, task: Callable[[], T]) -> Future[T]:
        """Run a task as soon as its turn has come; it can be cancelled until then."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting[host].append((future, task))
            self._advance(host)
        return future

    def close(self) -> None:
        """Drop the tasks that have not begun, and wait for those that have."""
        with self._lock:
            self._waiting.clear()
        self._pool.shutdown(cancel_futures=True)

    def _advance(self, host: str) -> None:
        queue = self._waiting[host]
        if queue and self._running[host] < self._per_host:
            self._running[host] += 1
            future, task = queue.popleft()
            self._pool.submit(self._run, host, future, task)
        if not queue:
            del self._waiting[host]

    def _run(self, host: str, future: Future[Any], task: Callable[[], Any]) -> None:
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(task())
        except BaseException as error:  # whoever waits for the result is told, whatever it is
            future.set_exception(error)
        finally:
            with self._lock:
                self._running[host] -= 1
                self._advance(host)
                if not self._running[host]:
                    del self._running[host]
