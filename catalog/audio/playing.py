"""Sounds to be listened to, made anew from what was landed."""

import io

import av

from catalog.audio.waveform import Waveform

BITS_PER_S = 32_000


def as_mp3(waveform: Waveform) -> bytes:
    """Return samples as an MP3 file, which every browser plays.

    No byte of the untrusted file that they were decoded from is in it.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=waveform.sample_rate_hz)
        stream.bit_rate = BITS_PER_S
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(waveform.samples[None], "fltp", "mono")
        frame.sample_rate = waveform.sample_rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
