"""Which frames of a clip are looked at: evenly spread over its time."""

import bisect
from collections.abc import Sequence

import numpy as np

from catalog.clips.limits import FrameSampling


def sampled_frames(times_s: Sequence[float], sampling: FrameSampling) -> list[int]:
    """Return the frames to look at, ascending and each once.

    They are those nearest to moments that lie evenly between the first and the last frame, so
    where frames follow each other evenly they are the ones that Qwen3-VL takes.

    Args:
        times_s: when each frame is shown, in seconds, ascending.
        sampling: how many of them.

    >>> sampled_frames([0.0, 0.1, 0.2, 0.3, 0.4], FrameSampling(min_frames=3))
    [0, 2, 4]
    """
    total = len(times_s)
    wanted = int(duration_s(times_s) * sampling.fps)
    number = min(max(wanted, sampling.min_frames), sampling.max_frames, total)
    moments = np.linspace(times_s[0], times_s[-1], number)
    return sorted({_nearest(times_s, float(moment)) for moment in moments})


def duration_s(times_s: Sequence[float]) -> float:
    """Return how long frames last, in seconds: the last one as long as the others on average.

    >>> duration_s([0.0, 0.5, 1.0]), duration_s([3.0])
    (1.5, 0.0)
    """
    if len(times_s) < 2:
        return 0.0
    return (times_s[-1] - times_s[0]) * len(times_s) / (len(times_s) - 1)


def _nearest(times_s: Sequence[float], moment: float) -> int:
    after = bisect.bisect_left(times_s, moment)
    if after == len(times_s):
        return after - 1
    is_before_nearer = after > 0 and moment - times_s[after - 1] <= times_s[after] - moment
    return after - 1 if is_before_nearer else after
