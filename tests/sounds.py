"""Small sounds for tests: pure tones, in the files that a sound may come in."""

import io

import av
import numpy as np

CODECS = {
    "wav": ("wav", "pcm_s16le"),
    "wav of floats": ("wav", "pcm_f32le"),
    "flac": ("flac", "flac"),
    "ogg": ("ogg", "libopus"),
    "mp3": ("mp3", "libmp3lame"),
}
"""Container and encoder, by what a test calls them."""


def tone(hz=440.0, *, seconds=1.0, rate_hz=48_000, loudness=0.5):
    """[samples] float32 of a sine."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (loudness * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def encoded(*channels, kind="wav", rate_hz=48_000, **options):
    """A file of channels, [samples] float32 each."""
    container_format, codec = CODECS[kind]
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    file = io.BytesIO()
    with av.open(file, "w", format=container_format, container_options=options) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(np.stack(channels), "fltp", layout)
        frame.sample_rate = rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def tone_file(kind="wav", *, hz=440.0, seconds=1.0, rate_hz=48_000):
    """A file of one tone."""
    return encoded(tone(hz, seconds=seconds, rate_hz=rate_hz), kind=kind, rate_hz=rate_hz)


def pitch_hz(samples, rate_hz):
    """The loudest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax()) * rate_hz / len(samples)
