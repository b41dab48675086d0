"""Small clips for tests: a white bar that grows from the left, frame by frame."""

import io
import tempfile
from pathlib import Path

import av
import numpy as np

CODECS = {
    "mp4": ("mp4", "libx264", "yuv420p"),
    "mpeg4": ("mp4", "mpeg4", "yuv420p"),
    "webm": ("webm", "libvpx-vp9", "yuv420p"),
    "gif": ("gif", "gif", "rgb8"),
}
"""Container, encoder and pixels, by what a test calls them."""


def bar_frame(width_of_bar, *, size=(48, 64)):
    """A black frame whose first columns are white."""
    frame = np.zeros((*size, 3), np.uint8)
    frame[:, :width_of_bar] = 255
    return frame


def bar_clip(kind="mp4", *, num_frames=20, fps=10, size=(48, 64), keyframe_every=12):
    """A clip of frames 0, 1, ...: the bar of frame n is n columns wide."""
    frames = [bar_frame(number, size=size) for number in range(num_frames)]
    return encoded(frames, kind, fps=fps, keyframe_every=keyframe_every)


def encoded(frames, kind="mp4", *, fps=10, keyframe_every=12, **container_options):
    """A clip of frames, [height, width, 3] each."""
    container_format, codec, pixels = CODECS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        with av.open(
            str(path), "w", format=container_format, container_options=container_options
        ) as container:
            stream = container.add_stream(codec, rate=fps)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pixels
            if kind == "mp4":
                stream.options = {"g": str(keyframe_every), "threads": "1", "preset": "ultrafast"}
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            container.mux(stream.encode())
        return path.read_bytes()


def sound_only():
    """An MP4 of a second of silence, without a video stream."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return file.getvalue()


def bar_width(image):
    """How wide the bar is in a decoded frame."""
    return int((image.mean(axis=(0, 2)) > 128).sum())
