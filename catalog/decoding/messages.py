"""What a decoding process is sent and answers: a line of JSON, then bytes.

Nothing is pickled: whoever has taken the process over by a clip or a sound can answer frames,
samples or nonsense, and run nothing here.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np

from catalog.audio import limits as audio
from catalog.audio.waveform import Waveform
from catalog.clips import limits as clips
from catalog.clips.frames import Frames
from catalog.records import RecordError

MAX_LINE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """A clip to be decoded."""

    data: bytes
    limits: clips.ClipLimits
    sampling: clips.FrameSampling

    def refused(self, reason: str) -> RecordError:
        """Return the error that says why there are no frames."""
        return clips.ClipError(reason)

    def too_slow(self) -> RecordError:
        """Return the error that says that they took too long."""
        return clips.too_slow(self.limits)


@dataclass(frozen=True, slots=True)
class AudioRequest:
    """A sound to be decoded."""

    data: bytes
    limits: audio.AudioLimits
    sampling: audio.AudioSampling

    def refused(self, reason: str) -> RecordError:
        """Return the error that says why there are no samples."""
        return audio.AudioError(reason)

    def too_slow(self) -> RecordError:
        """Return the error that says that they took too long."""
        return audio.too_slow(self.limits)


Request = ClipRequest | AudioRequest
Answer = Frames | Waveform | str
"""The last one: why there is nothing."""


def write_request(stream: BinaryIO, request: Request) -> None:
    """Send a clip or a sound."""
    told = {
        "is_clip": isinstance(request, ClipRequest),
        "limits": asdict(request.limits),
        "sampling": asdict(request.sampling),
    }
    _write(stream, told | {"num_bytes": len(request.data)}, request.data)


def read_request(stream: BinaryIO) -> Request | None:
    """Return the next clip or sound; None when there will be none."""
    line = stream.readline()
    if not line:
        return None
    told = json.loads(line)
    data = stream.read(told["num_bytes"])
    limits, sampling = told["limits"], told["sampling"]
    if told["is_clip"]:
        return ClipRequest(data, clips.ClipLimits(**limits), clips.FrameSampling(**sampling))
    return AudioRequest(data, audio.AudioLimits(**limits), audio.AudioSampling(**sampling))


def write_answer(stream: BinaryIO, answer: Answer) -> None:
    """Answer with what was decoded, or why nothing was."""
    match answer:
        case Frames():
            height, width, _ = answer.images[0].shape
            told = {"times_s": answer.times_s, "height": height, "width": width}
            _write(stream, told, *(_bytes(image) for image in answer.images))
        case Waveform():
            samples = answer.samples.astype("<f4", copy=False)
            _write(stream, {"num_samples": len(samples)}, _bytes(samples))
        case _:
            _write(stream, {"refused": answer})


def read_answer(stream: BinaryIO, request: Request) -> Answer:
    """Return what was decoded, or why nothing was.

    Raises:
        ValueError: it is no answer to the request; so is half of one, of a process that ended.
    """
    told = json.loads(stream.readline(MAX_LINE_BYTES))
    if "refused" in told:
        return str(told["refused"])
    if isinstance(request, ClipRequest):
        return _frames(stream, told, request.sampling)
    return _waveform(stream, told, request.sampling)


def _frames(stream: BinaryIO, told: dict[str, Any], sampling: clips.FrameSampling) -> Frames:
    times_s = [float(each) for each in told["times_s"]]
    height, width = int(told["height"]), int(told["width"])
    if not 1 <= len(times_s) <= sampling.max_frames or times_s != sorted(times_s):
        raise ValueError(f"frames must have 1 to {sampling.max_frames} ascending times")
    if height < 1 or width < 1 or height * width > sampling.max_kept_pixels:
        raise ValueError(f"a frame must have at most {sampling.max_kept_pixels} pixels")
    shape = len(times_s), height, width, 3
    pixels = stream.read(math.prod(shape))
    if len(pixels) < math.prod(shape):
        raise ValueError("frames must be whole")
    return Frames(list(np.frombuffer(pixels, np.uint8).reshape(shape)), times_s)


def _waveform(stream: BinaryIO, told: dict[str, Any], sampling: audio.AudioSampling) -> Waveform:
    num_samples = int(told["num_samples"])
    if not 1 <= num_samples <= sampling.max_samples:
        raise ValueError(f"a sound must have 1 to {sampling.max_samples} samples")
    encoded = stream.read(4 * num_samples)
    if len(encoded) < 4 * num_samples:
        raise ValueError("a sound must be whole")
    samples = np.frombuffer(encoded, "<f4").astype(np.float32)
    if not (np.abs(samples) <= 1).all():  # nor is NaN
        raise ValueError("samples must be in [-1, 1]")
    return Waveform(samples, sampling.sample_rate_hz)


def _write(stream: BinaryIO, told: dict[str, Any], *parts: bytes | memoryview) -> None:
    stream.write(json.dumps(told).encode() + b"\n")
    for part in parts:
        stream.write(part)
    stream.flush()


def _bytes(values: np.ndarray) -> memoryview:
    return np.ascontiguousarray(values).data
