"""Tests for catalog/decoding/messages.py: an answer is checked before it is believed."""

import io
import json

import numpy as np
import pytest

from catalog.audio.limits import AudioLimits, AudioSampling
from catalog.audio.waveform import Waveform
from catalog.clips.frames import Frames
from catalog.clips.limits import DEFAULT_LIMITS, DEFAULT_SAMPLING
from catalog.decoding.messages import (
    AudioRequest,
    ClipRequest,
    read_answer,
    read_request,
    write_answer,
    write_request,
)

CLIP = ClipRequest(b"clip", DEFAULT_LIMITS, DEFAULT_SAMPLING)
SOUND = AudioRequest(b"sound", AudioLimits(max_channels=3), AudioSampling(max_s=0.001))


@pytest.mark.parametrize("request_", [CLIP, SOUND])
def test_a_request_arrives_as_it_was_sent(request_):
    stream = io.BytesIO()
    write_request(stream, request_)
    stream.seek(0)
    assert read_request(stream) == request_
    assert read_request(stream) is None


def test_frames_arrive_as_they_were_sent():
    frames = Frames([np.full((2, 3, 3), n, np.uint8) for n in range(2)], [0.0, 0.5])
    stream = io.BytesIO()
    write_answer(stream, frames)
    stream.seek(0)
    got = read_answer(stream, CLIP)
    assert got.times_s == [0.0, 0.5]
    assert [image.tolist() for image in got.images] == [image.tolist() for image in frames.images]


def test_samples_arrive_as_they_were_sent():
    samples = np.linspace(-1, 1, 16, dtype=np.float32)
    stream = io.BytesIO()
    write_answer(stream, Waveform(samples, 16_000))
    stream.seek(0)
    got = read_answer(stream, SOUND)
    assert got.sample_rate_hz == 16_000
    np.testing.assert_array_equal(got.samples, samples)


@pytest.mark.parametrize(
    ("num_samples", "samples"),
    [
        (0, []),
        (17, [0.0] * 17),  # more than were asked for
        (3, [0.0, 0.0]),
        (2, [0.0, 1.5]),
        (2, [0.0, float("nan")]),
    ],
)
def test_samples_that_are_none_are_not_believed(num_samples, samples):
    told = json.dumps({"num_samples": num_samples}).encode() + b"\n"
    stream = io.BytesIO(told + np.array(samples, "<f4").tobytes())
    with pytest.raises(ValueError, match="must"):
        read_answer(stream, SOUND)


def test_a_refusal_arrives_as_its_reason():
    stream = io.BytesIO()
    write_answer(stream, "too long")
    stream.seek(0)
    assert read_answer(stream, CLIP) == "too long"


@pytest.mark.parametrize(
    "told",
    [
        {"times_s": [0.0] * 17, "height": 1, "width": 1},
        {"times_s": [1.0, 0.0], "height": 1, "width": 1},
        {"times_s": [0.0], "height": 100_000, "width": 100_000},
        {"times_s": [0.0], "height": -1, "width": 1},
        {"times_s": [], "height": 1, "width": 1},
        {"times_s": [0.0], "height": 1, "width": 1},  # and no pixels
    ],
)
def test_an_answer_that_is_none_is_not_believed(told):
    with pytest.raises(ValueError, match="must"):
        read_answer(io.BytesIO(json.dumps(told).encode() + b"\n"), CLIP)
