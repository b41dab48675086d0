"""Work that is done ahead: the next window is prepared by threads while this one is in use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WINDOWS_AHEAD = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefetch:
    """How much is prepared at once, and by whom."""

    window: int
    """Inputs of one list."""

    num_workers: int
    """Threads that prepare; 0: the caller prepares each window when it is drawn. Threads do as well
    as processes here, for decoding and resizing of images and tokenising all let go of the
    interpreter's lock."""

    slow_window: int | None = None
    """Most slow inputs of one list. Threads prepare these alone and the caller the others, for
    what does not wait for another process takes from the caller what a thread gains. None: threads
    prepare all inputs."""


def prepared_windows(
    inputs: Iterable[T],
    prepare: Callable[[T], R],
    prefetch: Prefetch,
    *,
    is_slow: Callable[[T], bool] = lambda one: False,
) -> Iterator[list[R]]:
    """Yield what `prepare` makes of the inputs, in order, in lists of at most a window.

    At most two windows are in memory, so the inputs may be endless. No thread is started for an
    input that is alone: it is there no sooner by one.

    Args:
        inputs: drawn by the calling thread, no sooner than they are needed.
        prepare: called by the caller and the threads; it must not raise.
        prefetch: how many, and by whom.
        is_slow: whether to prepare an input is to wait for another process.
    """
    windows = _windows(inputs, prefetch, is_slow)
    if prefetch.num_workers == 0:
        for window in windows:
            yield [prepare(one) for one in window]
        return
    with ThreadPoolExecutor(prefetch.num_workers, thread_name_prefix="prepare") as pool:

        def begun(window: Sequence[T]) -> list[Callable[[], R]]:
            by_thread = len(window) > 1
            all_by_thread = prefetch.slow_window is None
            return [
                pool.submit(prepare, one).result
                if by_thread and (all_by_thread or is_slow(one))
                else partial(prepare, one)
                for one in window
            ]

        ahead: deque[list[Callable[[], R]]] = deque()
        try:
            for window in windows:
                ahead.append(begun(window))
                if len(ahead) > WINDOWS_AHEAD:
                    yield [prepared() for prepared in ahead.popleft()]
            while ahead:
                yield [prepared() for prepared in ahead.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)  # the caller may stop in the middle


def _windows(
    inputs: Iterable[T], prefetch: Prefetch, is_slow: Callable[[T], bool]
) -> Iterator[list[T]]:
    window: list[T] = []
    num_slow = 0
    for one in inputs:
        window.append(one)
        num_slow += is_slow(one)
        if len(window) == prefetch.window or num_slow == prefetch.slow_window:
            yield window
            window, num_slow = [], 0
    if window:
        yield window
