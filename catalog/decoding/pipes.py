"""Pipes to a process that may hang: whoever reads or writes waits until a deadline, no longer."""

import contextlib
import fcntl
import io
import math
import os
import select
import time
from dataclasses import dataclass
from typing import IO, Any

PIPE_BYTES = 1 << 18
"""What a pipe is to hold, and what is gathered for it. The usual 64 KB are a third of a second of a
stereo sound, and each time that a pipe is full, one side waits until the other has woken up."""

LONGEST_POLL_S = 3_600.0
"""The system cannot count for as long as a deadline may be away."""


@dataclass(slots=True)
class Deadline:
    """Until when whoever shares it may wait."""

    due: float = math.inf
    """By the clock `time.monotonic`."""

    def left_s(self) -> float:
        """Return how much time there is.

        Raises:
            TimeoutError: none.
        """
        left = self.due - time.monotonic()
        if left <= 0:
            raise TimeoutError("the other end of a pipe must be quicker")
        return left


class TimedPipe(io.RawIOBase):
    """Our end of a pipe; it takes over the file that it is given.

    A read or write raises `TimeoutError` as soon as the deadline is over, whatever the other end
    does: it may sleep, or keep us busy with a byte at a time.
    """

    def __init__(self, file: IO[bytes], deadline: Deadline) -> None:
        """Enlarge the pipe; `deadline` is asked anew each time."""
        self._file, self._deadline = file, deadline
        self._ready = select.poll()
        self._ready.register(file, select.POLLOUT if file.writable() else select.POLLIN)
        os.set_blocking(file.fileno(), False)
        enlarge(file.fileno())

    def readable(self) -> bool:
        """Return whether it is the end that is read."""
        return self._file.readable()

    def writable(self) -> bool:
        """Return whether it is the end that is written to."""
        return self._file.writable()

    def readinto(self, buffer: Any) -> int:
        """Read what is there, as soon as something is; 0 when nothing will come any more."""
        while True:
            self._wait()
            with contextlib.suppress(BlockingIOError):
                return os.readv(self._file.fileno(), [buffer])

    def write(self, data: Any) -> int:
        """Write as much as there is room for, as soon as there is some."""
        while True:
            self._wait()
            with contextlib.suppress(BlockingIOError):
                return os.write(self._file.fileno(), data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _wait(self) -> None:
        while not self._ready.poll(1_000 * min(self._deadline.left_s(), LONGEST_POLL_S)):
            pass  # the deadline tells that it is over


def enlarge(pipe: int) -> None:
    """Let a pipe hold more, where the system knows how and lets us."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
