"""A reply that is dear to make and may be some seconds old."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """A value that is made anew when it is asked for and older than it may be.

    Those who ask meanwhile wait for the one that is being made, so that many of them cost as much
    as one. An error is not remembered.
    """

    def __init__(
        self,
        make: Callable[[], T],
        *,
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make nothing yet.

        Args:
            make: the value.
            max_age_s: seconds that it may be old.
            clock: seconds that never go back.
        """
        self._make = make
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the value, made at most `max_age_s` ago."""
        with self._lock:
            if self._kept is None or self._clock() - self._kept[0] > self._max_age_s:
                made_at = self._clock()
                self._kept = made_at, self._make()
            return self._kept[1]
