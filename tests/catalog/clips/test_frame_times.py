"""Tests for catalog/clips/frame_times.py: which frames stand for a clip."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catalog.clips.frame_times import duration_s, sampled_frames
from catalog.clips.limits import FrameSampling


@given(
    num_frames=st.integers(1, 400),
    frame_rate=st.sampled_from([5.0, 24.0, 25.0, 30.0]),
    fps=st.sampled_from([0.5, 1.0, 2.0]),
    max_frames=st.integers(4, 40),
)
def test_of_evenly_spaced_frames_those_are_taken_that_qwen_takes(
    num_frames, frame_rate, fps, max_frames
):
    times = [number / frame_rate for number in range(num_frames)]
    # Qwen3VLVideoProcessor.sample_frames, which needs torchvision to be imported.
    wanted = min(max(int(num_frames / frame_rate * fps), 4), max_frames, num_frames)
    exact = np.linspace(0, num_frames - 1, wanted)
    taken = sampled_frames(times, FrameSampling(fps=fps, max_frames=max_frames))
    if num_frames > 1 and int(duration_s(times) * fps) != int(num_frames / frame_rate * fps):
        return  # a count on the edge of a whole number, rounded otherwise
    assert len(taken) == wanted
    assert np.abs(np.array(taken) - exact).max() <= 0.5 + 1e-6


def test_frames_that_last_differently_are_sampled_by_time_and_not_by_number():
    times = [0.0, 0.1, 0.2, 0.3, 4.0, 8.0]
    assert sampled_frames(times, FrameSampling(fps=0.1, min_frames=3)) == [0, 4, 5]


def test_a_single_frame_stands_for_itself():
    assert sampled_frames([7.0], FrameSampling()) == [0]


def test_a_long_clip_is_looked_at_as_often_as_allowed_first_and_last_frame_among_it():
    taken = sampled_frames([number / 10 for number in range(3000)], FrameSampling(max_frames=5))
    assert len(taken) == 5
    assert (taken[0], taken[-1]) == (0, 2999)
