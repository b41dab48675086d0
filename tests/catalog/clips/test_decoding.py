"""Tests for catalog/clips/decoding.py: the right frames, upright, and nothing beyond the limits."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from catalog.clips.decoding import decode
from catalog.clips.limits import ClipError, ClipLimits, FrameSampling
from tests.clips import bar_clip, bar_frame, bar_width, encoded, sound_only

LIMITS = ClipLimits()
FOUR = FrameSampling(max_frames=4)


def refusal(data, **limits):
    with pytest.raises(ClipError) as caught:
        decode(data, ClipLimits(**limits), FOUR)
    assert caught.value.stage == "media"
    return str(caught.value)


@pytest.mark.parametrize("kind", ["mp4", "mpeg4", "webm", "gif"])
def test_frames_are_those_of_their_times(kind):
    frames = decode(bar_clip(kind, num_frames=40, fps=10), LIMITS, FrameSampling(max_frames=6))
    numbers = [round(at * 10) for at in frames.times_s]
    assert numbers == [0, 8, 16, 23, 31, 39]
    assert [image.shape for image in frames.images] == [(48, 64, 3)] * 6
    assert [bar_width(image) for image in frames.images] == pytest.approx(numbers, abs=1)


def test_where_a_decoder_may_enter_makes_no_difference():
    often, once = (
        decode(bar_clip(num_frames=40, keyframe_every=every), LIMITS, FOUR) for every in (3, 400)
    )
    assert often.times_s == once.times_s
    assert [bar_width(image) for image in often.images] == [
        bar_width(image) for image in once.images
    ]


def test_a_single_frame_is_a_clip():
    frames = decode(bar_clip(num_frames=1), LIMITS, FOUR)
    assert (len(frames.images), frames.times_s) == (1, [0.0])


def test_what_is_clear_in_a_gif_is_white(tmp_path):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 4, 8))
    clear.save(tmp_path / "a.gif", save_all=True, append_images=[clear], duration=100, disposal=2)
    [image, *_] = decode((tmp_path / "a.gif").read_bytes(), LIMITS, FOUR).images
    assert image[0, 7].tolist() == [255, 255, 255]
    assert image[0, 0].tolist() == [255, 0, 0]


def test_a_clip_that_was_held_sideways_is_upright():
    clip = bytearray(encoded([bar_frame(32)] * 2))
    at = clip.index(b"tkhd") + 4 + 40  # the matrix of the track: a quarter turn clockwise
    clip[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    [image, *_] = decode(bytes(clip), LIMITS, FOUR).images
    assert image.shape == (64, 48, 3)
    assert image[:28].mean() > 250  # what was on the left is above
    assert image[36:].mean() < 5


def test_a_large_frame_is_scaled_down_and_keeps_its_shape():
    sampling = FrameSampling(max_frames=4, max_kept_pixels=48 * 64 // 4)
    frames = decode(bar_clip(num_frames=8), LIMITS, sampling)
    assert {image.shape for image in frames.images} == {(24, 32, 3)}


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
def test_a_clip_that_is_cut_off_is_refused(kind):
    clip = bar_clip(kind)
    assert "must be whole" in refusal(clip[: len(clip) * 9 // 10])


def test_a_clip_that_lacks_whole_frames_is_refused_though_no_box_of_it_is_cut():
    clip = encoded([bar_frame(number) for number in range(20)], movflags="faststart")
    start = clip.index(b"mdat") - 4
    for end in range(len(clip) - 100, len(clip)):  # some of these are where a frame ends
        cut = clip[:start] + struct.pack(">I", end - start) + clip[start + 4 : end]
        assert "must be whole" in refusal(cut)


def test_a_clip_that_is_longer_than_may_be_is_refused_by_what_its_header_says():
    assert "at most 1.5 s, got 2.0" in refusal(bar_clip(num_frames=20, fps=10), max_duration_s=1.5)


def test_a_clip_whose_header_says_nothing_is_refused_by_its_frames():
    recorded = encoded([bar_frame(number) for number in range(20)], "webm", live="1")
    assert "at most 1.5 s, got 2.0" in refusal(recorded, max_duration_s=1.5)


def test_ten_hours_are_refused_before_a_frame_is_decoded():
    clip = bar_clip(num_frames=3, fps=Fraction(1, 12_000))
    assert "at most 300 s, got 36000.0" in refusal(clip)


def test_a_frame_with_more_pixels_than_may_be_is_refused():
    assert "at most 3000 pixels, got 64 x 48" in refusal(bar_clip(), max_pixels=3_000)
    huge = bytearray(bar_clip("gif", num_frames=2))
    huge[6:10] = struct.pack("<HH", 16_384, 16_384)
    assert "got 16384 x 16384" in refusal(bytes(huge))


def test_a_frame_that_grows_in_the_middle_of_the_stream_is_not_decoded():
    small, large = (
        encoded([bar_frame(3, size=size)] * 2, "mpeg4") for size in ((48, 64), (480, 640))
    )
    assert decode(small, LIMITS, FOUR).images
    # The header of the small one before the stream of the large one.
    fraud = large.replace(struct.pack(">HH", 640, 480), struct.pack(">HH", 64, 48))
    assert fraud != large
    with pytest.raises(ClipError):
        decode(fraud, ClipLimits(max_pixels=10_000), FOUR)


def test_a_file_with_more_bytes_than_may_be_is_refused():
    assert "at most 100 bytes" in refusal(bar_clip(), max_bytes=100)


def test_whoever_takes_too_long_is_stopped():
    assert "within 1e-06 s" in refusal(bar_clip(), decoding_s=1e-6)


def test_sound_alone_is_no_clip():
    assert "must have a video stream" in refusal(sound_only())


def test_rubbish_in_a_container_is_refused():
    clip = bar_clip()
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(clip)
        start = int(rng.integers(8, len(clip)))
        damaged[start : start + 40] = rng.bytes(len(damaged[start : start + 40]))
        try:
            decode(bytes(damaged), LIMITS, FOUR)
        except ClipError:
            continue
