"""Tests for catalog/decoding/pipes.py: what is at the other end cannot keep us."""

import fcntl
import io
import os
import subprocess
import sys
import threading
import time

import pytest

from catalog.decoding.pipes import PIPE_BYTES, Deadline, TimedPipe, enlarge

DRIP = "import os, time\nwhile True: os.write(1, b'x'); time.sleep(0.01)"


@pytest.fixture
def ends():
    """The file that is read and the one that is written to, of one pipe."""
    read, write = (io.FileIO(end, mode) for end, mode in zip(os.pipe(), "rw", strict=True))
    yield read, write
    read.close()
    write.close()


def in_s(seconds):
    return Deadline(time.monotonic() + seconds)


def test_everything_arrives_however_slowly_it_is_drawn(ends):
    read, write = ends
    sent = os.urandom(5 * PIPE_BYTES + 3)
    drawn = []

    def draw():
        while part := read.read(100_000):
            drawn.append(part)
            time.sleep(0.005)

    reader = threading.Thread(target=draw)
    reader.start()
    with io.BufferedWriter(TimedPipe(write, in_s(20)), PIPE_BYTES) as stream:
        stream.write(b"head\n")
        stream.write(sent)
    reader.join()
    assert b"".join(drawn) == b"head\n" + sent


def test_whoever_reads_nothing_is_waited_for_until_the_deadline(ends):
    pipe = TimedPipe(ends[1], in_s(0.3))
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        io.BufferedWriter(pipe).write(bytes(2 * PIPE_BYTES))
    assert 0.3 <= time.monotonic() - started < 3


def test_whoever_writes_nothing_is_waited_for_until_the_deadline(ends):
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        TimedPipe(ends[0], in_s(0.3)).read(1)
    assert 0.3 <= time.monotonic() - started < 3


def test_whoever_always_writes_one_byte_more_is_waited_for_until_the_deadline():
    with subprocess.Popen(
        [sys.executable, "-c", DRIP], bufsize=0, stdout=subprocess.PIPE
    ) as process:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            io.BufferedReader(TimedPipe(process.stdout, in_s(0.5))).readline()
        assert 0.5 <= time.monotonic() - started < 3
        process.kill()


def test_a_deadline_holds_for_the_next_read_and_not_for_the_pipe(ends):
    read, write = ends
    deadline = in_s(-1)
    pipe = TimedPipe(read, deadline)
    write.write(b"a")
    with pytest.raises(TimeoutError):
        pipe.read(1)
    deadline.due = time.monotonic() + 20
    assert pipe.read(1) == b"a"


def test_who_has_gone_is_not_waited_for(ends):
    read, write = ends
    writing = TimedPipe(write, Deadline())
    writing.close()
    assert write.closed
    assert TimedPipe(read, Deadline()).read(1) == b""
    read, write = (io.FileIO(end, mode) for end, mode in zip(os.pipe(), "rw", strict=True))
    read.close()
    with pytest.raises(BrokenPipeError):
        TimedPipe(write, Deadline()).write(b"a")
    write.close()


@pytest.mark.skipif(not hasattr(fcntl, "F_GETPIPE_SZ"), reason="pipes have one size here")
def test_a_pipe_holds_more_where_it_may(ends, tmp_path):
    enlarge(ends[1].fileno())
    assert fcntl.fcntl(ends[0], fcntl.F_GETPIPE_SZ) >= PIPE_BYTES
    with open(tmp_path / "file", "wb") as no_pipe:
        enlarge(no_pipe.fileno())  # refused as a user's last pipe would be: it stays as it is
