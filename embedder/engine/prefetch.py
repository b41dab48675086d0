"""Work that is done ahead: the next window is prepared by threads while this one is in use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WINDOWS_AHEAD = 1


def prepared_windows(
    inputs: Iterable[T], prepare: Callable[[T], R], *, window: int, num_workers: int
) -> Iterator[list[R]]:
    """Yield what `prepare` makes of the inputs, in order, in lists of at most `window`.

    At most two windows are in memory, so the inputs may be endless.

    Args:
        inputs: drawn by the calling thread, no sooner than they are needed.
        prepare: called by the workers; it must not raise.
        window: inputs of one list.
        num_workers: threads that prepare; 0: the caller prepares each window when it is drawn.
            Threads do as well as processes here, for decoding and resizing of images and
            tokenising all let go of the interpreter's lock.
    """
    source = iter(inputs)
    if num_workers == 0:
        while drawn := list(islice(source, window)):
            yield [prepare(one) for one in drawn]
        return
    with ThreadPoolExecutor(num_workers, thread_name_prefix="prepare") as pool:
        ahead: deque[list[Future[R]]] = deque()
        try:
            while drawn := list(islice(source, window)):
                ahead.append([pool.submit(prepare, one) for one in drawn])
                if len(ahead) > WINDOWS_AHEAD:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)  # the caller may stop in the middle
