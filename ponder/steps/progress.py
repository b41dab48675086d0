"""How a step tells what it has done so far."""

from collections.abc import Callable

Progress = Callable[[int], None]
"""Is told how many more were done."""


def ignore_progress(done: int) -> None:
    """Take no notice."""
