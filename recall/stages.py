"""How long each stage of an answer takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """A stopwatch that starts when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.started_at = time.monotonic()
        """A moment of `time.monotonic`."""
        self.timings_ms: dict[str, float] = {}

    def deadline(self, deadline_ms: float | None) -> float | None:
        """Return the moment of `time.monotonic` so long after the start; None for none."""
        return None if deadline_ms is None else self.started_at + deadline_ms / 1000

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time that a block takes to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, 1000 * (time.perf_counter() - started))

    def add(self, stage: str, took_ms: float) -> None:
        """Add so many milliseconds to a stage."""
        self.timings_ms[stage] = self.timings_ms.get(stage, 0.0) + took_ms

    @property
    def took_ms(self) -> float:
        """Milliseconds since the start."""
        return 1000 * (time.perf_counter() - self._started)
