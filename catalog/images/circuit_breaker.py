"""Circuit breaker per host: those that keep failing are left alone for a while."""

import threading
from collections.abc import Callable
from time import monotonic

MAX_REMEMBERED = 10_000


class CircuitBreaker:
    """Counts each host's failures in a row and pauses the host after too many."""

    def __init__(
        self, *, max_failures: int, pause_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        """Begin with trust in every host.

        Args:
            max_failures: in a row, after which a host is paused.
            pause_s: length of a pause. The first failure after it begins the next one.
            clock: seconds that never go back.
        """
        self._max_failures = max_failures
        self._pause_s = pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}  # how many, and when the last one was

    def is_paused(self, host: str) -> bool:
        """Return whether the host should not be asked now."""
        with self._lock:
            count, failed_at = self._failures.get(host, (0, 0.0))
        return count >= self._max_failures and self._clock() < failed_at + self._pause_s

    def failed(self, host: str) -> None:
        """Record that the host could not give an image that it may well have."""
        with self._lock:
            count, _ = self._failures.pop(host, (0, 0.0))
            self._failures[host] = (count + 1, self._clock())
            if len(self._failures) > MAX_REMEMBERED:  # a sender can name any number of hosts
                del self._failures[next(iter(self._failures))]

    def answered(self, host: str) -> None:
        """Record that the host is there, whatever it said."""
        with self._lock:
            self._failures.pop(host, None)
