"""Tests for catalog/audio/playing.py."""

import numpy as np
import pytest

from catalog.audio.decoding import decode
from catalog.audio.limits import DEFAULT_LIMITS, DEFAULT_SAMPLING
from catalog.audio.playing import as_mp3
from catalog.audio.waveform import Waveform
from tests.sounds import pitch_hz, tone


@pytest.mark.parametrize("seconds", [0.01, 1.0])
def test_what_is_played_is_the_sound(seconds):
    samples = tone(700.0, rate_hz=16_000, seconds=seconds)
    mp3 = as_mp3(Waveform(samples, 16_000))
    heard = decode(mp3, DEFAULT_LIMITS, DEFAULT_SAMPLING).samples
    assert len(mp3) < 1_000 + 5_000 * seconds
    assert len(heard) == pytest.approx(len(samples), abs=20)
    if seconds == 1.0:
        assert pitch_hz(heard, 16_000) == pytest.approx(700, abs=2)
        assert np.abs(heard).max() == pytest.approx(0.5, abs=0.05)
