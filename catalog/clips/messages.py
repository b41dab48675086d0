"""What a decoding process is sent and answers: a line of JSON, then bytes.

Nothing is pickled: whoever has taken the process over by a clip can answer frames or nonsense, and
run nothing here.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np

from catalog.clips.frames import Frames
from catalog.clips.limits import ClipLimits, FrameSampling

MAX_LINE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """A clip to be decoded."""

    data: bytes
    limits: ClipLimits
    sampling: FrameSampling


def write_request(stream: BinaryIO, request: Request) -> None:
    """Send a clip."""
    told = {"limits": asdict(request.limits), "sampling": asdict(request.sampling)}
    _write(stream, told | {"num_bytes": len(request.data)}, request.data)


def read_request(stream: BinaryIO) -> Request | None:
    """Return the next clip; None when there will be none."""
    line = stream.readline()
    if not line:
        return None
    told = json.loads(line)
    data = stream.read(told["num_bytes"])
    return Request(data, ClipLimits(**told["limits"]), FrameSampling(**told["sampling"]))


def write_frames(stream: BinaryIO, frames: Frames) -> None:
    """Answer with frames."""
    height, width, _ = frames.images[0].shape
    told = {"times_s": frames.times_s, "height": height, "width": width}
    _write(stream, told, *(image.tobytes() for image in frames.images))


def write_refusal(stream: BinaryIO, reason: str) -> None:
    """Answer with why there are none."""
    _write(stream, {"refused": reason})


def read_answer(stream: BinaryIO, request: Request) -> Frames | str:
    """Return the frames, or why there are none.

    Raises:
        ValueError: it is no answer to the request; so is half of one, of a process that ended.
    """
    told = json.loads(stream.readline(MAX_LINE_BYTES))
    if "refused" in told:
        return str(told["refused"])
    times_s = [float(each) for each in told["times_s"]]
    height, width = int(told["height"]), int(told["width"])
    sampling = request.sampling
    if not 1 <= len(times_s) <= sampling.max_frames or times_s != sorted(times_s):
        raise ValueError(f"frames must have 1 to {sampling.max_frames} ascending times")
    if height < 1 or width < 1 or height * width > sampling.max_kept_pixels:
        raise ValueError(f"a frame must have at most {sampling.max_kept_pixels} pixels")
    images = []
    for _ in times_s:
        pixels = stream.read(height * width * 3)
        if len(pixels) < height * width * 3:
            raise ValueError("a frame must be whole")
        images.append(np.frombuffer(pixels, np.uint8).reshape(height, width, 3))
    return Frames(images, times_s)


def _write(stream: BinaryIO, told: dict[str, Any], *parts: bytes) -> None:
    stream.write(json.dumps(told).encode() + b"\n")
    for part in parts:
        stream.write(part)
    stream.flush()
