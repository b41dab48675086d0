"""Tests for catalog/clips/messages.py: an answer is checked before it is believed."""

import io
import json

import numpy as np
import pytest

from catalog.clips.frames import Frames
from catalog.clips.limits import DEFAULT_LIMITS, DEFAULT_SAMPLING
from catalog.clips.messages import (
    Request,
    read_answer,
    read_request,
    write_frames,
    write_refusal,
    write_request,
)

REQUEST = Request(b"clip", DEFAULT_LIMITS, DEFAULT_SAMPLING)


def test_a_request_arrives_as_it_was_sent():
    stream = io.BytesIO()
    write_request(stream, REQUEST)
    stream.seek(0)
    assert read_request(stream) == REQUEST
    assert read_request(stream) is None


def test_frames_arrive_as_they_were_sent():
    frames = Frames([np.full((2, 3, 3), n, np.uint8) for n in range(2)], [0.0, 0.5])
    stream = io.BytesIO()
    write_frames(stream, frames)
    stream.seek(0)
    got = read_answer(stream, REQUEST)
    assert got.times_s == [0.0, 0.5]
    assert [image.tolist() for image in got.images] == [image.tolist() for image in frames.images]


def test_a_refusal_arrives_as_its_reason():
    stream = io.BytesIO()
    write_refusal(stream, "too long")
    stream.seek(0)
    assert read_answer(stream, REQUEST) == "too long"


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
        read_answer(io.BytesIO(json.dumps(told).encode() + b"\n"), REQUEST)
