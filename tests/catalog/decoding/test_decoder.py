"""Tests for catalog/decoding/decoder.py: a process of its own for what may hang or crash."""

import os
import signal
import threading
import time

import pytest

from catalog.audio.limits import AudioError, AudioLimits
from catalog.clips.limits import ClipError, ClipLimits
from catalog.decoding.decoder import GuardedDecoder
from catalog.decoding.pipes import PIPE_BYTES
from tests.clips import bar_clip, bar_width
from tests.sounds import pitch_hz, tone_file


@pytest.fixture(scope="module")
def decoder():
    made = GuardedDecoder(max_processes=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def clip():
    return bar_clip()


def process_of(decoder):
    [process] = decoder._idle
    return process.popen


def test_frames_come_back_as_they_were_decoded(decoder, clip):
    frames = decoder.frames(clip)
    assert [bar_width(image) for image in frames.images] == pytest.approx(
        [at * 10 for at in frames.times_s], abs=1
    )


def test_samples_come_back_as_they_were_decoded(decoder):
    waveform = decoder.waveform(tone_file(hz=700.0))
    assert waveform.sample_rate_hz == 16_000
    assert pitch_hz(waveform.samples, 16_000) == pytest.approx(700)


def test_a_process_serves_clips_and_sounds_and_tells_them_apart(decoder, clip):
    decoder.frames(clip)
    first = process_of(decoder).pid
    with pytest.raises(AudioError, match="must be a WAV"):
        decoder.waveform(clip)
    with pytest.raises(ClipError, match="must be an MP4"):
        decoder.frames(tone_file())
    assert process_of(decoder).pid == first


def test_a_sound_is_given_up_as_a_clip_is(decoder, monkeypatch):
    sound = tone_file()
    decoder.waveform(sound)
    monkeypatch.setattr("catalog.decoding.decoder.GRACE_S", 0.1)
    os.kill(process_of(decoder).pid, signal.SIGSTOP)
    with pytest.raises(AudioError, match=r"within 0\.2 s"):
        decoder.waveform(sound, limits=AudioLimits(decoding_s=0.2))


def test_a_process_serves_many_clips_and_a_refused_one_does_not_end_it(decoder, clip):
    decoder.frames(clip)
    first = process_of(decoder).pid
    with pytest.raises(ClipError, match="must be an MP4"):
        decoder.frames(b"no clip")
    decoder.frames(clip)
    assert process_of(decoder).pid == first


def test_a_process_that_hangs_is_ended_and_the_next_clip_is_decoded(decoder, clip, monkeypatch):
    decoder.frames(clip)
    monkeypatch.setattr("catalog.decoding.decoder.GRACE_S", 0.1)
    hanging = process_of(decoder)
    os.kill(hanging.pid, signal.SIGSTOP)
    with pytest.raises(ClipError, match=r"within 0\.2 s"):
        decoder.frames(clip, limits=ClipLimits(decoding_s=0.2))
    assert hanging.poll() is not None
    decoder.frames(clip)


def test_a_process_that_hangs_while_it_is_sent_a_sound_is_ended(decoder, monkeypatch):
    decoder.waveform(tone_file())
    monkeypatch.setattr("catalog.decoding.decoder.GRACE_S", 0.1)
    hanging = process_of(decoder)
    os.kill(hanging.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(AudioError, match=r"within 0\.2 s"):
        decoder.waveform(bytes(8 * PIPE_BYTES), limits=AudioLimits(decoding_s=0.2))
    assert 0.3 <= time.monotonic() - started < 3
    assert hanging.poll() is not None
    decoder.waveform(tone_file())


def test_a_process_that_crashes_while_it_is_sent_a_sound_costs_that_sound_alone(decoder):
    decoder.waveform(tone_file())
    process = process_of(decoder)
    os.kill(process.pid, signal.SIGSTOP)
    threading.Timer(0.2, process.kill).start()
    with pytest.raises(AudioError, match="does not survive"):
        decoder.waveform(bytes(8 * PIPE_BYTES))
    decoder.waveform(tone_file())


def test_a_process_that_crashes_costs_its_clip_alone(decoder, clip):
    decoder.frames(clip)
    process = process_of(decoder)
    os.kill(process.pid, signal.SIGSTOP)  # so that it dies with the clip in its hands
    threading.Timer(0.2, process.kill).start()
    with pytest.raises(ClipError, match="does not survive"):
        decoder.frames(clip)
    decoder.frames(clip)


def test_a_process_that_died_unasked_is_replaced(decoder, clip):
    decoder.frames(clip)
    process = process_of(decoder)
    process.kill()
    process.wait()
    decoder.frames(clip)


def test_a_process_sees_none_of_our_secrets(decoder, clip, monkeypatch):
    monkeypatch.setenv("PONDER_SECRET_OF_A_TEST", "x")
    decoder.close()
    decoder.frames(clip)
    with open(f"/proc/{process_of(decoder).pid}/environ", "rb") as file:
        assert b"PONDER_SECRET_OF_A_TEST" not in file.read()
