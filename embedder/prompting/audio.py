"""Untrusted sounds to log-mel spectrograms, as an audio encoder reads them.

The spectrogram is Whisper's: power of Hann windows, bands on Slaney's mel scale, the logarithm cut
80 dB below the loudest value. It is that of the sound's own length: where Whisper fills up every
sound to 30 seconds, here zeros fill up the last token alone, or the last frame.
"""

from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array
from transformers.audio_utils import mel_filter_bank

from catalog.audio.limits import AudioError, AudioLimits, AudioSampling
from catalog.decoding.decoder import GuardedDecoder
from embedder.prompting.audio_config import HOP, SAMPLE_RATE_HZ, WINDOW, AudioConfig

LIMITS = AudioLimits(
    max_bytes=2_000_000_000,
    max_duration_s=86_400,
    max_channels=64,
    max_sample_rate_hz=768_000,
    decoding_s=120,
)
"""Wider than any landing's: what is embedded was landed or asked within limits, of which this model
knows nothing. They hold what came another way."""

FRAMES_AT_ONCE = 64
"""Of a spectrogram: what is computed of so many stays in a processor's cache."""


class AudioReader:
    """Opens sounds; safe to share between threads."""

    def __init__(self, config: AudioConfig, decoder: GuardedDecoder, *, max_s: float) -> None:
        """Start no process yet.

        Args:
            config: of the model that reads.
            decoder: of sounds.
            max_s: seconds from the start that are read.
        """
        self._config, self._decoder = config, decoder
        self._sampling = AudioSampling(sample_rate_hz=SAMPLE_RATE_HZ, max_s=max_s)

    def open_audio(self, data: bytes) -> np.ndarray:
        """Return [frames, bands] float32, the log-mel spectrogram of as much as the model reads.

        Raises:
            catalog.audio.limits.AudioError: no sound, cut off, damaged, or too long to decode.
        """
        samples = self._decoder.waveform(data, limits=LIMITS, sampling=self._sampling).samples
        num_zeros = self._config.num_filled(len(samples)) - len(samples)
        filled = np.pad(samples, (0, num_zeros))
        return log_mel(filled, num_bins=self._config.num_mel_bins)

    def num_tokens(self, mels_FM: np.ndarray) -> int:
        """Return how many tokens a spectrogram becomes."""
        return self._config.num_tokens(len(mels_FM))

    def problem(self, data: bytes | None) -> str | None:
        """Return why bytes cannot be opened as a sound; None when they can, or there are none."""
        if data is None:
            return None
        try:
            self.open_audio(data)
        except AudioError as error:
            return str(error)
        return None


def log_mel(samples: np.ndarray, *, num_bins: int) -> np.ndarray:
    """Return [frames, bands] float32, the log-mel spectrogram of a sound, a frame every 10 ms.

    The numbers are those of transformers' `WhisperFeatureExtractor` for the sound alone; they lie
    within 2 of each other, about -1 to 1.5.

    Args:
        samples: [samples] at 16,000 a second, in [-1, 1], at least a window of 400.
        num_bins: bands from 0 to 8,000 Hz.
    """
    centred = np.pad(samples.astype(np.float64), WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(centred, WINDOW)[::HOP]
    windows = windows[: len(samples) // HOP]
    hann, filters = np.hanning(WINDOW + 1)[:-1], _filters(num_bins)
    energy = np.empty((len(windows), num_bins), np.float32)
    for start in range(0, len(windows), FRAMES_AT_ONCE):
        piece = slice(start, start + FRAMES_AT_ONCE)
        # In float64, or what is 80 dB below the loudest is noise of the transform.
        waves = np.fft.rfft(windows[piece] * hann)
        power = waves.real**2 + waves.imag**2
        energy[piece] = (filters @ power.T).T
    loudness = np.log10(np.maximum(energy, 1e-10))
    loudness = np.maximum(loudness, loudness.max() - 8.0)
    return (loudness + 4.0) / 4.0


@lru_cache
def _filters(num_bins: int) -> csr_array:
    """Return [bands, frequencies] how much of each frequency is in each band.

    It is in two bands at most. And a sparse product starts no threads, which for one so small wait
    for each other longer than they work.
    """
    filters = mel_filter_bank(
        num_frequency_bins=WINDOW // 2 + 1,
        num_mel_filters=num_bins,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE_HZ / 2,
        sampling_rate=SAMPLE_RATE_HZ,
        norm="slaney",
        mel_scale="slaney",
    )
    return csr_array(filters.T)
