"""The deadline of a request, held by what the index is asked for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from recall.client import within
from recall.errors import IndexFailed, OutOfTime
from serving.workers import DEADLINE_PASSED

EARLY_S = 0.01
"""So long before the deadline a call that was given all of the time may give up."""


@contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """Let all that the index is asked in the block end before a deadline.

    Args:
        deadline: a moment of `time.monotonic`; None: no end.

    Raises:
        OutOfTime: the index failed for want of time, which is no fault of the index.
    """
    if deadline is None:
        yield
        return
    try:
        with within(deadline - time.monotonic()):
            yield
    except IndexFailed as error:
        if time.monotonic() < deadline - EARLY_S:
            raise
        raise OutOfTime(DEADLINE_PASSED) from error
