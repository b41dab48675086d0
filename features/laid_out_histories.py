"""The histories of a block of requests, laid out for products with their candidates.

Legend: R = requests, S = slots, T = profiles, K = rows to compare with, E = items of all histories
that have a vector, D = dimension.
"""

from dataclasses import dataclass

import numpy as np

from features.grouped_requests import Groups, Vectors
from features.history_profiles import Profiles, profile_norms


@dataclass(frozen=True, slots=True, eq=False)
class LaidOut:
    """What the candidates of each request of a block are compared with."""

    rows_RKD: np.ndarray
    """[R, T + S, D] the profiles, not normalised, then the history, newest first, with whatever
    beyond it."""

    size_R: np.ndarray
    norm_RT: np.ndarray
    """Lengths of the profiles; NaN where a history cancels."""

    age_RS: np.ndarray
    is_strong_RS: np.ndarray
    category_RS: np.ndarray
    """-2 for none."""

    cluster_RS: np.ndarray
    """-2 for none."""

    @property
    def num_rows(self) -> int:
        """T + S."""
        return self.rows_RKD.shape[1]

    def rows_of(self, number: int) -> int:
        """Return how many rows of a request there are to compare with; 0 of no history."""
        size = int(self.size_R[number])
        return self.num_rows - self.age_RS.shape[1] + size if size else 0


def laid_out(groups: Groups, vectors: Vectors, begin: int, end: int, profiles: Profiles) -> LaidOut:
    """Lay out the histories of a range of requests."""
    slots, num_profiles = groups.slots, profiles.num
    first_R = groups.first_E[begin:end]
    size_R = np.minimum(groups.first_E[begin + 1 : end + 1] - first_R, slots)
    is_there_RS = np.arange(slots) < size_R[:, None]
    event_M = (first_R[:, None] + np.arange(slots))[is_there_RS]

    def by_slot(flat_E: np.ndarray, none: float, dtype: type) -> np.ndarray:
        laid_RS: np.ndarray = np.full((end - begin, slots), none, dtype=dtype)
        laid_RS[is_there_RS] = flat_E[event_M]
        return laid_RS

    age_RS = by_slot(groups.age_E, np.inf, np.float32)
    is_strong_RS = by_slot(groups.is_strong_E, False, np.bool_)
    category_RS, cluster_RS = (
        by_slot(numbers_E, -1, np.int32) for numbers_E in (groups.category_E, groups.cluster_E)
    )
    for number_RS in (category_RS, cluster_RS):
        number_RS[number_RS < 0] = -2
    row_RK = np.zeros((end - begin, num_profiles + slots), dtype=np.int64)
    row_RK[:, num_profiles:] = by_slot(groups.history_E, 0, np.int64)
    rows_RKD = vectors.vectors_ND.take(row_RK, axis=0)
    weight_RTS = profiles.weights(age_RS, is_strong_RS)
    rows_RKD[:, :num_profiles] = weight_RTS @ rows_RKD[:, num_profiles:]
    norm_RT = profile_norms(rows_RKD[:, :num_profiles], weight_RTS)
    return LaidOut(rows_RKD, size_R, norm_RT, age_RS, is_strong_RS, category_RS, cluster_RS)
