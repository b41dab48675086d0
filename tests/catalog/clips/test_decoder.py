"""Tests for catalog/clips/decoder.py: a process of its own for what may hang or crash."""

import os
import signal
import threading

import pytest

from catalog.clips.decoder import ClipDecoder
from catalog.clips.limits import ClipError, ClipLimits
from tests.clips import bar_clip, bar_width


@pytest.fixture(scope="module")
def decoder():
    made = ClipDecoder(max_processes=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def clip():
    return bar_clip()


def process_of(decoder):
    [process] = decoder._idle
    return process.popen


def test_frames_come_back_as_they_were_decoded(decoder, clip):
    frames = decoder.decode(clip)
    assert [bar_width(image) for image in frames.images] == pytest.approx(
        [at * 10 for at in frames.times_s], abs=1
    )


def test_a_process_serves_many_clips_and_a_refused_one_does_not_end_it(decoder, clip):
    decoder.check(clip)
    first = process_of(decoder).pid
    with pytest.raises(ClipError, match="must be an MP4"):
        decoder.check(b"no clip")
    decoder.check(clip)
    assert process_of(decoder).pid == first


def test_a_process_that_hangs_is_ended_and_the_next_clip_is_decoded(decoder, clip, monkeypatch):
    decoder.check(clip)
    monkeypatch.setattr("catalog.clips.decoder.GRACE_S", 0.1)
    hanging = process_of(decoder)
    os.kill(hanging.pid, signal.SIGSTOP)
    with pytest.raises(ClipError, match=r"within 0\.2 s"):
        decoder.check(clip, limits=ClipLimits(decoding_s=0.2))
    assert hanging.poll() is not None
    decoder.check(clip)


def test_a_process_that_crashes_costs_its_clip_alone(decoder, clip):
    decoder.check(clip)
    process = process_of(decoder)
    os.kill(process.pid, signal.SIGSTOP)  # so that it dies with the clip in its hands
    threading.Timer(0.2, process.kill).start()
    with pytest.raises(ClipError, match="does not survive"):
        decoder.check(clip)
    decoder.check(clip)


def test_a_process_that_died_unasked_is_replaced(decoder, clip):
    decoder.check(clip)
    process = process_of(decoder)
    process.kill()
    process.wait()
    decoder.check(clip)


def test_a_process_sees_none_of_our_secrets(decoder, clip, monkeypatch):
    monkeypatch.setenv("PONDER_SECRET_OF_A_TEST", "x")
    decoder.close()
    decoder.check(clip)
    with open(f"/proc/{process_of(decoder).pid}/environ", "rb") as file:
        assert b"PONDER_SECRET_OF_A_TEST" not in file.read()
