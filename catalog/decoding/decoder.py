"""Clips and sounds decoded where it cannot hurt: in processes that are ended when they are slow.

A decoder of video is a large parser of hostile bytes in C. In a thread it could not be stopped, and
its crash would be ours. The processes are kept from one file to the next, for starting one takes
longer than most clips; without clips and sounds none is started.
"""

import contextlib
import io
import os
import subprocess
import sys
import threading
import time
from weakref import finalize

from catalog.audio import limits as audio
from catalog.audio.waveform import Waveform
from catalog.clips import limits as clips
from catalog.clips.frames import Frames
from catalog.decoding.messages import (
    Answer,
    AudioRequest,
    ClipRequest,
    Request,
    read_answer,
    write_request,
)
from catalog.decoding.pipes import PIPE_BYTES, Deadline, TimedPipe

GRACE_S = 2.0
"""Beyond its own deadline a process is given so long, then it hangs."""

START_S = 30.0
"""Longest time for the first answer, of a process that must load its libraries first."""

MAX_PROCESSES = 4


class GuardedDecoder:
    """Decodes clips and sounds; threads may share it. It may be closed, and is when dropped."""

    def __init__(self, *, max_processes: int | None = None) -> None:
        """Start no process yet.

        Args:
            max_processes: files decoded at once; None: one a core, 4 at most.
        """
        self._idle: list[_Process] = []
        self._lock = threading.Lock()
        self._free = threading.Semaphore(max_processes or min(MAX_PROCESSES, os.cpu_count() or 1))
        self._closing = finalize(self, _end_all, self._idle)

    def close(self) -> None:
        """End the processes that decode nothing at the moment."""
        with self._lock:
            _end_all(self._idle)

    def frames(
        self,
        data: bytes,
        *,
        limits: clips.ClipLimits = clips.DEFAULT_LIMITS,
        sampling: clips.FrameSampling = clips.DEFAULT_SAMPLING,
    ) -> Frames:
        """Return the frames that stand for a clip.

        Some are decoded whatever they are needed for: so a clip is known to be one.

        Raises:
            ClipError: no clip, cut off, damaged, larger than the limits or too slow to decode.
        """
        clips.check_clip_size(len(data), max_bytes=limits.max_bytes)
        frames = self._answer(ClipRequest(data, limits, sampling))
        assert isinstance(frames, Frames)
        return frames

    def waveform(
        self,
        data: bytes,
        *,
        limits: audio.AudioLimits = audio.DEFAULT_LIMITS,
        sampling: audio.AudioSampling = audio.DEFAULT_SAMPLING,
    ) -> Waveform:
        """Return the samples that stand for a sound.

        Raises:
            AudioError: no sound, cut off, damaged, larger than the limits or too slow to decode.
        """
        audio.check_audio_size(len(data), max_bytes=limits.max_bytes)
        waveform = self._answer(AudioRequest(data, limits, sampling))
        assert isinstance(waveform, Waveform)
        return waveform

    def _answer(self, request: Request) -> Frames | Waveform:
        with self._free:
            process = self._take()
            try:
                answer = process.answer(request)
            except BaseException:
                process.end()
                raise
            with self._lock:
                self._idle.append(process)
        if isinstance(answer, str):
            raise request.refused(answer)
        return answer

    def _take(self) -> "_Process":
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive:
                    return process
                process.end()
        return _Process()


class _Process:
    """One process that decodes."""

    def __init__(self) -> None:
        """Start it; it loads its libraries while it is asked for the first time."""
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "catalog.decoding.worker"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
        self._is_new, self._deadline = True, Deadline()
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        ours = TimedPipe(self.popen.stdin, self._deadline)
        theirs = TimedPipe(self.popen.stdout, self._deadline)
        self._requests = io.BufferedWriter(ours, PIPE_BYTES)
        self._answers = io.BufferedReader(theirs, PIPE_BYTES)

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    def answer(self, request: Request) -> Answer:
        """Return what the process answers.

        Raises:
            RecordError: it does not, or answers nonsense; it must be ended, and not asked again.
        """
        within_s = request.limits.decoding_s + GRACE_S + (START_S if self._is_new else 0.0)
        self._deadline.due = time.monotonic() + within_s
        try:
            write_request(self._requests, request)
            answer = read_answer(self._answers, request)
        except TimeoutError as error:
            raise request.too_slow() from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise request.refused(
                "a clip or a sound must be decoded, got one that its decoder does not survive"
            ) from error
        self._is_new = False
        return answer

    def end(self) -> None:
        """End it, whatever it does."""
        self.popen.kill()
        self.popen.wait()
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):  # of what it was still to be told
                stream.close()


def _environment() -> dict[str, str]:
    """Return what the process needs of our environment: where its modules are, no credentials."""
    kept = ("PATH", "LD_LIBRARY_PATH", "LANG", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def _end_all(processes: list[_Process]) -> None:
    while processes:
        processes.pop().end()
