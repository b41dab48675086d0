"""Intervals over a few runs, each of which answered many questions.

Legend: B = resamples, R = runs, G = values of a run.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.bootstrap import Interval, interval


def bootstrap_over_runs(
    values_RG: Sequence[np.ndarray], *, num_resamples: int = 1000, seed: int = 0
) -> Interval:
    """Return the mean of the runs' means: runs are drawn first, then the values of each drawn run.

    With a handful of runs the draws know few of the runs that could have been: the interval is too
    narrow for what differs between runs, never for what differs between values.

    Args:
        values_RG: of each run one number per group, e.g. per question; runs may differ in length.
        num_resamples: B.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)

    def drawn_mean() -> float:
        runs = [values_RG[run] for run in rng.integers(len(values_RG), size=len(values_RG))]
        return float(np.mean([rng.choice(value_G, size=len(value_G)).mean() for value_G in runs]))

    mean = float(np.mean([value_G.mean() for value_G in values_RG]))
    return interval(mean, np.array([drawn_mean() for _ in range(num_resamples)]))
