"""Untrusted sounds to samples, by FFmpeg; run in a process of its own (`catalog.decoding.worker`).

As of clips, the container is told by its first bytes and not by FFmpeg's guess, the codec is one of
a few, and nothing but the bytes at hand is opened. All packets are counted, for only so is known
how long a sound is, and whether it is whole; decoded is what is read of it, and about a second
more.
"""

import io
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import av
import numpy as np

from catalog.audio.containers import container_of, is_cut_off, num_mp3_frames
from catalog.audio.limits import (
    MIN_SAMPLE_RATE_HZ,
    AudioError,
    AudioLimits,
    AudioSampling,
    check_audio_size,
    too_slow,
)
from catalog.audio.waveform import Waveform

PCM = ("u8", "s16le", "s24le", "s32le", "f32le", "f64le")
CODECS = (*(f"pcm_{kind}" for kind in PCM), "flac", "vorbis", "opus", "mp3", "mp3float")

PROBED_BYTES = "8192"
"""What FFmpeg reads ahead to learn the format; of a WAV by default several seconds, in vain. With
each packet it looks anew, so the packets of a WAV, which may be cut anywhere, are made as large."""

CUT_OFF = "a sound must be whole, got one that is cut off"


def decode(data: bytes, limits: AudioLimits, sampling: AudioSampling) -> Waveform:
    """Decode the start of a sound: all channels mixed to one, resampled.

    Raises:
        AudioError: no sound, without a sample, cut off, damaged, or larger than the limits.
    """
    check_audio_size(len(data), max_bytes=limits.max_bytes)
    until = time.monotonic() + limits.decoding_s
    with _told_as_reasons():
        if is_cut_off(data):
            raise AudioError(CUT_OFF)
        with _opened(data, limits) as (container, stream):
            packets = _checked(container.demux(stream), stream, data, limits, until)
            frames = (frame for packet in packets for frame in packet.decode())
            parts = _resampled(_mixed(_gathered(frames), limits), sampling.sample_rate_hz)
            try:
                samples = _start_of(parts, sampling.max_samples)
            finally:  # the rest is counted too: "cut off" says more than where it fails
                deque(packets, maxlen=0)
        if not len(samples):
            raise AudioError("a sound must have at least one sample, got none")
        return Waveform(np.clip(samples, -1, 1), sampling.sample_rate_hz)


def _checked(
    packets: Iterable[Any], stream: Any, data: bytes, limits: AudioLimits, until: float
) -> Iterator[Any]:
    """Hand packets on; check how long the sound is, and at its end that all of it was there."""
    unit = stream.time_base
    length = num_packets = 0
    for packet in packets:
        if time.monotonic() > until:
            raise too_slow(limits)
        num_packets += packet.size > 0
        length += packet.duration or 0
        seconds = length * unit.numerator / unit.denominator
        if seconds > limits.max_duration_s:
            raise AudioError(
                f"a sound may last at most {limits.max_duration_s:g} s, got {seconds:.1f} at "
                "least; shorten it"
            )
        yield packet
    match container_of(data):
        case "flac" if stream.duration is not None and length < stream.duration:
            raise AudioError(CUT_OFF)
        case "mp3" if num_packets < (num_mp3_frames(data) or 0):
            raise AudioError(CUT_OFF)


def _gathered(frames: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield frames of one format and rate, about a second of them at once.

    A frame alone is some 20 ms, too short for the steps that follow to be worth their calls.
    """
    piece: list[Any] = []
    num_samples = 0
    for frame in frames:
        if piece and (_kind(frame) != _kind(piece[0]) or num_samples >= frame.sample_rate):
            yield piece
            piece, num_samples = [], 0
        piece.append(frame)
        num_samples += frame.samples
    if piece:
        yield piece


def _kind(frame: Any) -> tuple[str, int, int]:
    return frame.format.name, frame.layout.nb_channels, frame.sample_rate


def _mixed(
    pieces: Iterable[Sequence[Any]], limits: AudioLimits
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield samples, the mean of all channels as float32, and their rate."""
    for frames in pieces:
        first = frames[0]
        num_channels = first.layout.nb_channels
        _check_format(first.sample_rate, num_channels, limits)
        values = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        if not first.format.is_planar:
            values = values.reshape(-1, num_channels).T
        mixed = _as_float(values).mean(axis=0, dtype=np.float64)
        if not np.isfinite(mixed).all():
            raise AudioError("a sound's samples must be finite numbers, got NaN or infinity")
        yield np.clip(mixed, -1, 1).astype(np.float32), first.sample_rate


def _as_float(values: np.ndarray) -> np.ndarray:
    """Return samples of any type as numbers in [-1, 1]."""
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    if np.issubdtype(values.dtype, np.integer):
        return values / np.float64(-float(np.iinfo(values.dtype).min))
    return values


def _resampled(parts: Iterable[tuple[np.ndarray, int]], rate_hz: int) -> Iterator[np.ndarray]:
    """Yield the same at another rate, by FFmpeg's windowed sinc."""
    resampler = av.AudioResampler("flt", "mono", rate_hz)
    for samples, sample_rate_hz in parts:
        frame = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
        frame.sample_rate = sample_rate_hz
        for each in resampler.resample(frame):
            yield each.to_ndarray()[0]
    for each in resampler.resample(None):
        yield each.to_ndarray()[0]


def _start_of(parts: Iterable[np.ndarray], max_samples: int) -> np.ndarray:
    """Return the first samples, and draw no part behind them."""
    drawn: list[np.ndarray] = []
    num_samples = 0
    for part in parts:
        drawn.append(part)
        num_samples += len(part)
        if num_samples >= max_samples:
            break
    return np.concatenate(drawn)[:max_samples] if drawn else np.empty(0, np.float32)


@contextmanager
def _opened(data: bytes, limits: AudioLimits) -> Iterator[tuple[Any, Any]]:
    """Open a file and its first stream of sound."""
    with av.open(
        io.BytesIO(data),
        format=container_of(data),
        options={
            "codec_whitelist": ",".join(CODECS),
            "probesize": PROBED_BYTES,
            "max_size": PROBED_BYTES,  # of a WAV's packets
        },
        container_options={"protocol_whitelist": "none"},
        metadata_errors="replace",
    ) as container:
        if not container.streams.audio:
            raise AudioError("a sound must have an audio stream, got none")
        stream = container.streams.audio[0]
        codec = stream.codec_context
        if codec is None or codec.name not in CODECS:
            got = getattr(codec, "name", "one that is not known")
            raise AudioError(f"a sound must be one of {', '.join(CODECS)}, got {got}")
        _check_format(codec.sample_rate, codec.layout.nb_channels, limits)
        codec.thread_count = 1
        yield container, stream


def _check_format(sample_rate_hz: int, num_channels: int, limits: AudioLimits) -> None:
    if not 1 <= num_channels <= limits.max_channels:
        raise AudioError(
            f"a sound may have at most {limits.max_channels} channels, got {num_channels}; mix it "
            "down"
        )
    if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= limits.max_sample_rate_hz:
        raise AudioError(
            f"a sound must have {MIN_SAMPLE_RATE_HZ} to {limits.max_sample_rate_hz} samples a "
            f"second, got {sample_rate_hz}; resample it"
        )


@contextmanager
def _told_as_reasons() -> Iterator[None]:
    try:
        yield
    except AudioError:
        raise
    except Exception as error:  # parsers of hostile bytes raise whatever they stumble over
        raise AudioError(f"a sound must be a whole WAV, FLAC, Ogg or MP3, got {error!r}") from error
