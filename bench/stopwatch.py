"""Rivals that are timed in turns, the best of each counting."""

import time
from collections.abc import Callable


class Stopwatch:
    """Keeps the best wall and processor seconds of each of several rivals."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], object]) -> object:
        """Do the work once more under this name."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.wall[name] = min(wall, self.wall.get(name, wall))
        self.cpu[name] = min(cpu, self.cpu.get(name, cpu))
        return result
