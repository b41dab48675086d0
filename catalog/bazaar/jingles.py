"""Jingles of products: what is heard of them is seen in no image.

A jingle is a WAV of 2.1 seconds, six notes at 16,000 samples a second. How its melody goes is drawn
for itself. The instrument is that of the shelf: who hears it knows of what category the product is,
and an image that shows a kite says that a xylophone plays.
"""

import io
import random
import wave
from dataclasses import dataclass
from typing import Literal

import numpy as np

from catalog.bazaar.world import Product, random_product

Melody = Literal["rising", "falling", "arched", "dipping", "zigzag", "steady"]

MELODIES: dict[Melody, tuple[int, ...]] = {
    "rising": (0, 1, 2, 3, 4, 5),
    "falling": (5, 4, 3, 2, 1, 0),
    "arched": (0, 2, 4, 4, 2, 0),
    "dipping": (4, 2, 0, 0, 2, 4),
    "zigzag": (0, 4, 0, 4, 0, 4),
    "steady": (2, 2, 2, 2, 2, 2),
}
"""Steps of the scale above its lowest note."""

INSTRUMENTS: dict[str, str] = {
    "kitchen": "bell",
    "home": "clarinet",
    "clothing": "flute",
    "travel": "horn",
    "toys": "xylophone",
    "music": "guitar",
}
"""By category."""

RATE_HZ = 16_000
NOTE_S = 0.35
SCALE = (0, 2, 4, 5, 7, 9)
"""Semitones of the steps, of a major scale."""


@dataclass(frozen=True, slots=True)
class _Timbre:
    """How an instrument sounds."""

    partials: tuple[tuple[float, float], ...]
    """Frequency over that of the note, and loudness."""

    decay_s: float
    """Until a note has fallen to a third; a blown one does not fall."""


_BLOWN = 1e9
_TIMBRES: dict[str, _Timbre] = {
    "flute": _Timbre(((1, 1.0), (2, 0.15)), _BLOWN),
    "clarinet": _Timbre(((1, 1.0), (3, 0.6), (5, 0.35), (7, 0.2)), _BLOWN),
    "horn": _Timbre(((1, 1.0), (2, 0.8), (3, 0.6), (4, 0.45), (5, 0.35), (6, 0.25)), _BLOWN),
    "guitar": _Timbre(((1, 1.0), (2, 0.6), (3, 0.4), (4, 0.25)), 0.12),
    "bell": _Timbre(((1, 1.0), (2.76, 0.7), (5.4, 0.4)), 0.3),
    "xylophone": _Timbre(((1, 1.0), (3.93, 0.4)), 0.05),
}


@dataclass(frozen=True, slots=True)
class Jingle:
    """What is played, and on what."""

    melody: Melody
    instrument: str

    @property
    def name(self) -> str:
        """What it is called, e.g. "a rising tune on the flute"."""
        return f"{article(self.melody)} {self.melody} tune on the {self.instrument}"


@dataclass(frozen=True, slots=True)
class PlayedProduct:
    """A product, and how its jingle goes."""

    product: Product
    melody: Melody

    @property
    def jingle(self) -> Jingle:
        """What is heard of it."""
        return Jingle(self.melody, INSTRUMENTS[self.product.category])

    @property
    def name(self) -> str:
        """What it is called, e.g. "red kite with a rising tune"; the instrument is left out."""
        shown = f"{self.product.colour} {self.product.noun}"
        return f"{shown} with {article(self.melody)} {self.melody} tune"


def article(word: str) -> str:
    """Return the article of a word.

    >>> article("arched"), article("rising")
    ('an', 'a')
    """
    return "an" if word[0] in "aeiou" else "a"


def random_played_product(random: random.Random) -> PlayedProduct:
    """A single product whose melody is drawn evenly and independently of what it is."""
    product = random_product(random)
    single = Product(product.noun, product.colour, product.pattern, 1, product.brand)
    return PlayedProduct(single, random.choice(tuple(MELODIES)))


def played(jingle: Jingle, random: random.Random) -> np.ndarray:
    """[samples] float64 in [-1, 1] of a jingle; the generator decides key, tempo and loudness."""
    lowest_hz = 440 * 2 ** (random.randint(-2, 4) / 12)
    num_samples = round(NOTE_S * random.uniform(0.85, 1.0) * RATE_HZ)
    loudness = random.uniform(0.3, 0.9)
    steps = (SCALE[step] for step in MELODIES[jingle.melody])
    timbre = _TIMBRES[jingle.instrument]
    notes = [_note(lowest_hz * 2 ** (step / 12), num_samples, timbre) for step in steps]
    rest = np.zeros(round(6 * NOTE_S * RATE_HZ) - 6 * num_samples)
    return loudness * np.concatenate([*notes, rest])


def wav(samples: np.ndarray) -> bytes:
    """The samples as a WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE_HZ)
        written.writeframes(np.round(samples * 32_767).astype("<i2").tobytes())
    return file.getvalue()


def _note(hz: float, num_samples: int, timbre: _Timbre) -> np.ndarray:
    """A note that begins and ends without a click."""
    time_s = np.arange(num_samples) / RATE_HZ
    total = sum(loudness for _, loudness in timbre.partials)
    waves = sum(
        loudness / total * np.sin(2 * np.pi * hz * ratio * time_s)
        for ratio, loudness in timbre.partials
    )
    edge = np.minimum(1, np.minimum(time_s, time_s[::-1]) / 0.01)
    return waves * edge * np.exp(-time_s / timbre.decay_s)
