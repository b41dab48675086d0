"""Sums of a history that candidates are compared with.

Legend: R = requests, S = slots of a history, T = profiles, D = dimension.
"""

from dataclasses import dataclass

import numpy as np

CANCELLED = 1e-5
"""A profile shorter than this share of its weights is rounding noise: the history cancels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profiles:
    """Which sums of a history a candidate is compared with, and what else is found of it."""

    half_lives_h: tuple[float, ...] = ()
    """An item of this age weighs half in the profile, for each profile; infinite: all weigh the
    same."""

    with_strong: bool = False
    """One more of what was liked strongly alone, all weighing the same."""

    with_details: bool = False
    """Whether ages, strength and categories are wanted."""

    with_clusters: bool = False
    """Whether the clusters of the vectors are wanted, with the details."""

    with_others: bool = False
    """Whether the other candidates are wanted."""

    @property
    def num(self) -> int:
        """T, how many profiles there are."""
        return len(self.half_lives_h) + self.with_strong

    def weights(self, age_RS: np.ndarray, is_strong_RS: np.ndarray) -> np.ndarray:
        """Return [R, T, S] weights, 1 for the newest item: ages from "now" may all underflow.

        0 beyond the history, where the age is infinite.
        """
        half_life_T1 = np.asarray(self.half_lives_h, dtype=np.float32)[:, None]
        is_there_RS = np.isfinite(age_RS)
        newest_R1 = np.where(is_there_RS, age_RS, np.inf).min(axis=1, keepdims=True)
        since_RS = np.where(is_there_RS, age_RS - np.where(np.isfinite(newest_R1), newest_R1, 0), 0)
        weight_RTS = np.exp2(-since_RS[:, None, :] / half_life_T1, dtype=np.float32)
        weight_RTS *= is_there_RS[:, None, :]
        if not self.with_strong:
            return weight_RTS
        strong_R1S = (is_strong_RS & is_there_RS)[:, None, :].astype(np.float32)
        return np.concatenate([weight_RTS, strong_R1S], axis=1)


def profile_norms(profile_RTD: np.ndarray, weight_RTS: np.ndarray) -> np.ndarray:
    """Return [R, T] lengths of the profiles; NaN where the history cancels."""
    norm_RT = np.linalg.norm(profile_RTD, axis=2)
    norm_RT[norm_RT <= CANCELLED * weight_RTS.sum(axis=2)] = np.nan
    return norm_RT
