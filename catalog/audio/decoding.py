"""Untrusted sounds to samples, by FFmpeg; run in a process of its own (`catalog.decoding.worker`).

As of clips, the container is told by its first bytes and not by FFmpeg's guess, the codec is one of
a few, and nothing but the bytes at hand is opened. All packets are counted, for only so is known
how long a sound is, and whether it is whole; decoded is no more than what is read of it.
"""

import io
import time
from collections.abc import Iterable, Iterator
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
"""What FFmpeg reads ahead to learn the format; of a WAV by default several seconds, in vain."""

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
        _check_packets(data, limits, until)
        parts: list[np.ndarray] = []
        num_samples = 0
        for part in _resampled(_mixed(data, limits, until), sampling.sample_rate_hz):
            parts.append(part)
            num_samples += len(part)
            if num_samples >= sampling.max_samples:
                break
        if not num_samples:
            raise AudioError("a sound must have at least one sample, got none")
        samples = np.concatenate(parts)[: sampling.max_samples]
        return Waveform(np.clip(samples, -1, 1), sampling.sample_rate_hz)


def _check_packets(data: bytes, limits: AudioLimits, until: float) -> None:
    """Check how long a sound is, and that all of it is there, before anything is decoded."""
    with _opened(data, limits) as (container, stream):
        length = num_packets = 0
        for packet in container.demux(stream):
            _check_time(until, limits)
            num_packets += packet.size > 0
            length += packet.duration or 0
            seconds = float(length * stream.time_base)
            if seconds > limits.max_duration_s:
                raise AudioError(
                    f"a sound may last at most {limits.max_duration_s:g} s, got {seconds:.1f} at "
                    "least; shorten it"
                )
        match container_of(data):
            case "flac" if stream.duration is not None and length < stream.duration:
                raise AudioError(CUT_OFF)
            case "mp3" if num_packets < (num_mp3_frames(data) or 0):
                raise AudioError(CUT_OFF)


def _mixed(data: bytes, limits: AudioLimits, until: float) -> Iterator[tuple[np.ndarray, int]]:
    """Yield samples, the mean of all channels as float32, and their rate."""
    with _opened(data, limits) as (container, stream):
        for frame in container.decode(stream):
            _check_time(until, limits)
            num_channels = frame.layout.nb_channels
            _check_format(frame.sample_rate, num_channels, limits)
            values = frame.to_ndarray()
            if not frame.format.is_planar:
                values = values.reshape(-1, num_channels).T
            mixed = _as_float(values).mean(axis=0, dtype=np.float64)
            if not np.isfinite(mixed).all():
                raise AudioError("a sound's samples must be finite numbers, got NaN or infinity")
            yield np.clip(mixed, -1, 1).astype(np.float32), frame.sample_rate


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


@contextmanager
def _opened(data: bytes, limits: AudioLimits) -> Iterator[tuple[Any, Any]]:
    """Open a file and its first stream of sound."""
    with av.open(
        io.BytesIO(data),
        format=container_of(data),
        options={"codec_whitelist": ",".join(CODECS), "probesize": PROBED_BYTES},
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


def _check_time(until: float, limits: AudioLimits) -> None:
    if time.monotonic() > until:
        raise too_slow(limits)


@contextmanager
def _told_as_reasons() -> Iterator[None]:
    try:
        yield
    except AudioError:
        raise
    except Exception as error:  # parsers of hostile bytes raise whatever they stumble over
        raise AudioError(f"a sound must be a whole WAV, FLAC, Ogg or MP3, got {error!r}") from error
