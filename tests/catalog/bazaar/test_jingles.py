"""Tests for catalog/bazaar/jingles.py: what a jingle sounds like, and what it says of a product."""

import io
import random
import wave

import numpy as np
import pytest

from catalog.bazaar.jingles import (
    INSTRUMENTS,
    MELODIES,
    NOTE_S,
    RATE_HZ,
    Jingle,
    PlayedProduct,
    played,
    random_played_product,
    wav,
)
from catalog.bazaar.world import CATEGORIES, Product
from tests.sounds import pitch_hz

KITE = Product("kite", "red", "plain", 1, "ACME")


def rng(seed):
    return random.Random(seed)


def pitches(samples):
    """The pitch of each note, of a jingle that is as long as it may be."""
    end = np.flatnonzero(np.abs(samples) > 1e-6)[-1] + 1
    return [pitch_hz(note, RATE_HZ) for note in np.array_split(samples[:end], 6)]


@pytest.mark.parametrize("melody", MELODIES)
@pytest.mark.parametrize("instrument", ["flute", "bell", "xylophone", "horn"])
def test_notes_go_the_way_the_melody_says(melody, instrument):
    heard = pitches(played(Jingle(melody, instrument), rng(3)))
    steps = MELODIES[melody]
    for (one, at), (other, above) in zip(
        zip(heard, steps, strict=True), zip(heard[1:], steps[1:], strict=True), strict=False
    ):
        assert np.sign(round(12 * np.log2(other / one))) == np.sign(above - at)


def test_every_category_has_an_instrument_of_its_own_which_sounds_like_no_other():
    assert INSTRUMENTS.keys() == CATEGORIES.keys()
    assert len(set(INSTRUMENTS.values())) == len(CATEGORIES)
    spectra = []
    for instrument in INSTRUMENTS.values():
        spectrum = np.abs(np.fft.rfft(played(Jingle("steady", instrument), rng(0))))
        spectra.append(spectrum / np.linalg.norm(spectrum))
    alike = np.stack(spectra) @ np.stack(spectra).T
    assert alike[~np.eye(len(alike), dtype=bool)].max() < 0.95


def test_a_jingle_is_two_seconds_of_sixteen_bits_within_full_scale():
    samples = played(Jingle("arched", "horn"), rng(1))
    assert len(samples) == round(6 * NOTE_S * RATE_HZ) == 33_600
    assert 0.1 < np.abs(samples).max() <= 0.9
    with wave.open(io.BytesIO(wav(samples))) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate()) == (1, 2, RATE_HZ)
        kept = np.frombuffer(read.readframes(RATE_HZ * 9), "<i2") / 32_767
    np.testing.assert_allclose(kept, samples, atol=1 / 32_767)


def test_key_tempo_and_loudness_are_drawn_and_the_seed_decides_them():
    made = [wav(played(Jingle("rising", "flute"), rng(seed))) for seed in (1, 1, 2, 3)]
    assert made[0] == made[1]
    assert len(set(made)) == 3


def test_the_melody_says_nothing_of_the_product():
    drawn = [random_played_product(rng(seed)) for seed in range(2_000)]
    for category in CATEGORIES:
        melodies = [one.melody for one in drawn if one.product.category == category]
        shares = [melodies.count(melody) / len(melodies) for melody in MELODIES]
        assert shares == pytest.approx([1 / 6] * 6, abs=0.08)


def test_names_tell_the_product_and_its_melody_and_leave_the_instrument_to_the_ear():
    kite = PlayedProduct(KITE, "arched")
    assert kite.name == "red kite with an arched tune"
    assert kite.jingle.name == "an arched tune on the xylophone"
    assert Jingle("rising", "flute").name == "a rising tune on the flute"
