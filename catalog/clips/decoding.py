"""Untrusted clips to frames, by FFmpeg; run in a process of its own (`catalog.decoding.worker`).

FFmpeg reads hundreds of formats, some of which are lists of other files and addresses. Here a clip
is one of three containers, told by its first bytes and not by FFmpeg's guess, its video is of one
of a few codecs, and nothing but the bytes at hand is opened.
"""

import io
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from catalog.clips.containers import container_of, gif_size, is_cut_off
from catalog.clips.frame_times import duration_s, sampled_frames
from catalog.clips.frames import Frames
from catalog.clips.limits import (
    ClipError,
    ClipLimits,
    FrameSampling,
    check_clip_size,
    too_slow,
)

CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "gif")


@dataclass(frozen=True, slots=True)
class _Index:
    """What a clip's packets say before any is decoded."""

    times: list[int]
    """Of its frames, ascending, in units of `unit`."""

    keyframes: list[int]
    """Those among them that a decoder can begin with, where the container can be entered there."""

    unit: Fraction


def decode(data: bytes, limits: ClipLimits, sampling: FrameSampling) -> Frames:
    """Decode the frames that stand for a clip; those between them only as far as it takes.

    Raises:
        ClipError: no clip, cut off, damaged, or larger than the limits.
    """
    check_clip_size(len(data), max_bytes=limits.max_bytes)
    until = time.monotonic() + limits.decoding_s
    with _told_as_reasons():
        if is_cut_off(data):
            raise ClipError("a clip must be whole, got one that is cut off")
        if container_of(data) == "gif":  # of which FFmpeg tells no more than that it fails
            _check_pixels(*gif_size(data), limits)
        index = _index(data, limits, until)
        times_s = [float((at - index.times[0]) * index.unit) for at in index.times]
        _check_duration(duration_s(times_s), limits)
        wanted = sampled_frames(times_s, sampling)
        frames = _decoded(data, index, [index.times[number] for number in wanted], limits, until)
        images = list(_images(frames, limits, sampling))
        return Frames(images, [times_s[number] for number in wanted])


def _index(data: bytes, limits: ClipLimits, until: float) -> _Index:
    with _opened(data, limits) as (container, stream):
        if container.duration is not None:
            _check_duration(container.duration / av.time_base, limits)
        times: list[int] = []
        keyframes: list[int] = []
        num_packets = 0
        for packet in container.demux(stream):
            _check_time(until, limits)
            if packet.pts is None:  # the last one of each stream, which is empty
                continue
            if packet.is_corrupt:
                raise ClipError("a clip must be whole, got one that is cut off")
            num_packets += 1
            if not packet.is_discard:
                times.append(packet.pts)
                keyframes += [packet.pts] if packet.is_keyframe else []
        if not times:
            raise ClipError("a clip must have at least one frame, got none")
        if num_packets < stream.frames:  # of an MP4, whose header counts them
            raise ClipError("a clip must be whole, got one that is cut off")
        # A frame of a GIF is drawn over the one before it, whatever its packet says.
        is_entered = container_of(data) != "gif"
        return _Index(sorted(times), sorted(keyframes) if is_entered else [], stream.time_base)


def _decoded(
    data: bytes, index: _Index, wanted: Sequence[int], limits: ClipLimits, until: float
) -> Iterator[av.VideoFrame]:
    """Yield the first frame shown at each of the times wanted or after it."""
    with _opened(data, limits) as (container, stream):
        source = container.decode(stream)
        at = -1
        for target in wanted:
            nearest = bisect_right(index.keyframes, target) - 1
            if nearest >= 0 and index.keyframes[nearest] > max(at, index.times[0]):
                container.seek(index.keyframes[nearest], stream=stream)
                source = container.decode(stream)
            frame = None
            for frame in source:
                _check_time(until, limits)
                if frame.pts is not None and frame.pts >= target:
                    break
            if frame is None or frame.pts is None or frame.is_corrupt:
                raise ClipError("a clip must be whole, got a frame that cannot be decoded")
            at = frame.pts
            yield frame


def _images(
    frames: Iterator[av.VideoFrame], limits: ClipLimits, sampling: FrameSampling
) -> Iterator[np.ndarray]:
    """Yield frames as upright RGB images of the first one's size, scaled down where it is large."""
    size: tuple[int, int] | None = None
    scaler = VideoReformatter()  # one for all frames: to set it up takes longer than a small frame
    for frame in frames:
        _check_pixels(frame.width, frame.height, limits)
        if size is None:
            shrink = min(1.0, (sampling.max_kept_pixels / (frame.width * frame.height)) ** 0.5)
            size = max(1, int(frame.width * shrink)), max(1, int(frame.height * shrink))
        has_alpha = any(part.is_alpha for part in frame.format.components)
        scaled = scaler.reformat(frame, *size, format="rgba" if has_alpha else "rgb24", threads=1)
        pixels = scaled.to_ndarray()
        turns = round(frame.rotation / 90) % 4
        yield np.ascontiguousarray(np.rot90(_on_white(pixels) if has_alpha else pixels, turns))


def _on_white(pixels: np.ndarray) -> np.ndarray:
    if pixels[..., 3].min() == 255:  # nothing is clear, as in most GIFs
        opaque = np.empty((*pixels.shape[:2], 3), np.uint8)
        for colour in range(3):  # numpy takes three times as long for three bytes out of four
            opaque[..., colour] = pixels[..., colour]
        return opaque
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


@contextmanager
def _opened(data: bytes, limits: ClipLimits) -> Iterator[tuple[Any, Any]]:
    """Open a clip and its video stream."""
    with av.open(
        io.BytesIO(data),
        format=container_of(data),
        # Of the container and of each stream: what no codec may pass while the file is looked at.
        options={"max_pixels": str(limits.max_pixels), "codec_whitelist": ",".join(CODECS)},
        container_options={"protocol_whitelist": "none"},
        metadata_errors="replace",
    ) as container:
        shown = [one for one in container.streams.video if not _is_cover(one)]
        if not shown:
            raise ClipError("a clip must have a video stream, got none")
        stream = shown[0]
        if stream.codec_context is None or stream.codec_context.name not in CODECS:
            got = getattr(stream.codec_context, "name", "one that is not known")
            raise ClipError(f"a clip's video must be one of {', '.join(CODECS)}, got {got}")
        _check_pixels(stream.codec_context.width, stream.codec_context.height, limits)
        stream.codec_context.thread_count = 1
        yield container, stream


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _check_duration(seconds: float, limits: ClipLimits) -> None:
    if seconds > limits.max_duration_s:
        raise ClipError(
            f"a clip may last at most {limits.max_duration_s:g} s, got {seconds:.1f}; shorten it"
        )


def _check_pixels(width: int, height: int, limits: ClipLimits) -> None:
    if width * height > limits.max_pixels:
        raise ClipError(
            f"a frame may have at most {limits.max_pixels} pixels, got {width} x {height}; "
            "scale the clip down"
        )


def _check_time(until: float, limits: ClipLimits) -> None:
    if time.monotonic() > until:
        raise too_slow(limits)


@contextmanager
def _told_as_reasons() -> Iterator[None]:
    try:
        yield
    except ClipError:
        raise
    except Exception as error:  # parsers of hostile bytes raise whatever they stumble over
        raise ClipError(f"a clip must be a whole MP4, WebM or GIF, got {error!r}") from error
