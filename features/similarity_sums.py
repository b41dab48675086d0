"""What sums up the cosines of candidates with their histories, block by block.

Each function takes matrices of a block and returns rows of it; NaN is missing, never 0.

Legend: S = slots of a history, newest first; B = impressions of a block; K = largest kept, or
tiers; rows are [B] float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BELOW = np.float32(-2)
"""Stands for no cosine where the largest are looked for."""

TIE = np.float32(1e-6)
"""Cosines nearer to each other are the same: their last bits hang on the shape of a product."""

LONG_AGO_H = np.float32(1e9)
"""Hours that no age reaches."""

FEW_COLUMNS = 1_024
"""Of so few impressions, such as a live request's, the largest cosines are found by sorting."""


@dataclass(frozen=True, slots=True, eq=False)
class Cosines:
    """The cosines of a block, in the forms that sums of them take.

    Slots are left out by adding or multiplying: that takes a tenth of the time of a masked copy.
    """

    filled_SB: np.ndarray
    """With `BELOW` for none."""

    known_SB: np.ndarray
    """With 0 for none."""

    num_B: np.ndarray
    """How many there are, int64."""

    @classmethod
    def of(cls, cosine_SB: np.ndarray) -> "Cosines":
        """Take cosines, NaN for none."""
        num_B = count(cosine_SB == cosine_SB)
        if num_B.min(initial=len(cosine_SB)) == len(cosine_SB):
            return cls(cosine_SB, cosine_SB, num_B)
        return cls(np.fmax(cosine_SB, BELOW), np.nan_to_num(cosine_SB), num_B)

    @property
    def is_any_B(self) -> np.ndarray:
        """Whether there is one."""
        return self.num_B > 0

    def largest(self, num_best: int) -> np.ndarray:
        """Return [num_best, B] the largest, largest first; `BELOW` where there are fewer."""
        best_KB = largest(self.filled_SB, min(num_best, len(self.filled_SB)))
        if len(best_KB) == num_best:
            return best_KB
        missing = np.full((num_best - len(best_KB), best_KB.shape[1]), BELOW)
        return np.concatenate([best_KB, missing])

    def some(self, is_meant_SB: np.ndarray) -> "Cosines":
        """Return those of some slots, told of all or of the newest ones."""
        filled_SB = self.filled_SB[: len(is_meant_SB)]
        meant_SB = _as_float(is_meant_SB)
        known_SB = self.known_SB[: len(is_meant_SB)] * meant_SB
        num_B = count(is_meant_SB & (filled_SB > BELOW))
        meant_SB -= np.float32(1)
        meant_SB *= np.float32(4)
        meant_SB += filled_SB
        return Cosines(np.maximum(meant_SB, BELOW, out=meant_SB), known_SB, num_B)

    def mean(self) -> np.ndarray:
        """Return their mean."""
        return _where(self.is_any_B, self.known_SB.sum(axis=0) / np.maximum(self.num_B, 1))

    def std(self, mean_B: np.ndarray) -> np.ndarray:
        """Return their standard deviation from a mean."""
        apart_SB = self.known_SB - mean_B
        if self.known_SB is not self.filled_SB:
            apart_SB *= _as_float(self.filled_SB > BELOW)
        squares_B = np.einsum("sb,sb->b", apart_SB, apart_SB)
        return _where(self.is_any_B, np.sqrt(squares_B / np.maximum(self.num_B, 1)))

    def median(self) -> np.ndarray:
        """Return their median."""
        ordered_BS = np.sort(self.filled_SB.T, axis=1)  # what is missing comes first
        slots, row_B = ordered_BS.shape[1], np.arange(len(ordered_BS))
        begin_B = slots - self.num_B
        low_B = np.minimum(begin_B + (self.num_B - 1) // 2, slots - 1)
        high_B = np.minimum(begin_B + self.num_B // 2, slots - 1)
        median_B = (ordered_BS[row_B, low_B] + ordered_BS[row_B, high_B]) / np.float32(2)
        return _where(self.is_any_B, median_B)

    def newest(self, num_slots: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the largest and the mean of the newest."""
        largest_B = self.filled_SB[:num_slots].max(axis=0)
        mean_B = self.known_SB[:num_slots].sum(axis=0) / np.clip(self.num_B, 1, num_slots)
        return _where(self.is_any_B, largest_B), _where(self.is_any_B, mean_B)

    def first(self) -> np.ndarray:
        """Return the newest that there is."""
        slots = len(self.filled_SB)
        place_SB = _as_float(self.filled_SB <= BELOW)
        place_SB *= np.float32(slots)
        place_SB += np.arange(slots, dtype=np.float32)[:, None]
        place_B = np.minimum(place_SB.min(axis=0), slots - 1).astype(np.int64)
        return _where(self.is_any_B, self.filled_SB[place_B, np.arange(len(place_B))])


def mean_of(best_KB: np.ndarray, k: int) -> np.ndarray:
    """Return the mean of the first k of `Cosines.largest`; of all there are when fewer."""
    known_KB = best_KB[:k]
    num_B = count(known_KB > BELOW)
    sum_B = (known_KB * _as_float(known_KB > BELOW)).sum(axis=0)
    return _where(num_B > 0, sum_B / np.maximum(num_B, 1))


def told(best_B: np.ndarray) -> np.ndarray:
    """Return one row of `Cosines.largest` with NaN for none."""
    return _where(best_B > BELOW, best_B)


def newest_age(age_SB: np.ndarray, is_meant_SB: np.ndarray) -> np.ndarray:
    """Return hours of the newest slot that is meant."""
    out_SB = _as_float(is_meant_SB)
    out_SB -= np.float32(1)
    out_SB *= -LONG_AGO_H
    out_SB += age_SB
    newest_B = out_SB.min(axis=0)
    return _where(newest_B < LONG_AGO_H, newest_B)


def span(age_SB: np.ndarray) -> np.ndarray:
    """Return hours from the oldest to the newest item of each history."""
    num_B = count(np.isfinite(age_SB))
    oldest_B = age_SB[np.maximum(num_B - 1, 0), np.arange(len(num_B))]
    with np.errstate(invalid="ignore"):  # of no items: infinite less infinite
        return _where(num_B > 0, oldest_B - age_SB[0])


def outcomes(
    liked: tuple[np.ndarray, np.ndarray],
    skipped: tuple[np.ndarray, np.ndarray],
    *,
    temperature: float,
    half_life_h: float,
) -> list[np.ndarray]:
    """Return the share of liked ones among what was liked or skipped, near ones weighing more.

    Twice: an item weighs exp(cosine / temperature), and that times 2^(-age / half life), counted
    from the newest.

    Args:
        liked: cosines and ages in hours, [S, B] each.
        skipped: the same.
        temperature: > 0; the less, the more the nearest alone decide.
        half_life_h: > 0.
    """
    newest_B = np.minimum(liked[1][0], skipped[1][0])
    newest_B = np.where(np.isfinite(newest_B), newest_B, np.float32(0))
    rate = np.float32(-np.log(2) / half_life_h)
    sums = []
    for cosine_SB, age_SB in (liked, skipped):
        weight_SB = cosine_SB - np.float32(1)  # 1 at most: nothing overflows
        weight_SB *= np.float32(1 / temperature)
        np.exp(weight_SB, out=weight_SB)
        np.nan_to_num(weight_SB, copy=False)
        near_B = weight_SB.sum(axis=0)
        since_SB = age_SB - newest_B
        since_SB *= rate
        np.exp(since_SB, out=since_SB)
        since_SB *= weight_SB
        sums.append((near_B, since_SB.sum(axis=0)))
    return [_share(one_B, other_B) for one_B, other_B in zip(*sums, strict=True)]


def _share(part_B: np.ndarray, rest_B: np.ndarray) -> np.ndarray:
    total_B = part_B + rest_B
    return _where(total_B > 0, part_B / np.where(total_B > 0, total_B, np.float32(1)))


def tiers(cosine_SB: np.ndarray, edges: Sequence[float], num_tiers: int) -> list[np.ndarray]:
    """Return the share of the history in each tier, then log1p of the count.

    A cosine that equals an edge falls in the tier above it. Tiers are told apart by how many
    cosines reach each edge, which takes a fraction of a search for each cosine.
    """
    if not num_tiers:
        return []
    reached = [len(cosine_SB) - count(np.isnan(cosine_SB))]
    reached += [count(cosine_SB >= np.float32(edge)) for edge in edges]
    reached += [np.zeros_like(reached[0])] * (num_tiers - len(edges))
    count_KB = -np.diff(np.stack(reached).astype(np.float32), axis=0)
    count_KB[:, reached[0] == 0] = np.nan
    return [*(count_KB / np.maximum(reached[0], 1)), *np.log1p(count_KB)]


def count(is_SB: np.ndarray) -> np.ndarray:
    """Return [B] how often each column is true, int64; in bytes, while those can hold it."""
    dtype = np.uint8 if len(is_SB) < 256 else np.int64
    return np.add.reduce(is_SB.view(np.uint8), axis=0, dtype=dtype).astype(np.int64)


def largest(filled_SB: np.ndarray, num_best: int) -> np.ndarray:
    """Return [K, B] the largest values of each column, largest first.

    Each value is let down the ladder of the largest so far, all columns at once: several times as
    fast as sorting or partitioning fifty values at a time, unless the columns are few.
    """
    if filled_SB.shape[1] <= FEW_COLUMNS:
        return np.sort(filled_SB.T, axis=1).T[::-1][:num_best]
    best_KB = np.full((num_best, filled_SB.shape[1]), BELOW, dtype=np.float32)
    falling_B, lesser_B = np.empty_like(best_KB[0]), np.empty_like(best_KB[0])
    for slot, value_B in enumerate(filled_SB):
        falling_B[:] = value_B
        for step_B in best_KB[: slot + 1]:
            np.minimum(step_B, falling_B, out=lesser_B)
            np.maximum(step_B, falling_B, out=step_B)
            falling_B, lesser_B = lesser_B, falling_B
    return best_KB


def _where(is_told_B: np.ndarray, row_B: np.ndarray) -> np.ndarray:
    """Return the row with NaN where it tells nothing."""
    return np.where(is_told_B, row_B, np.float32(np.nan))


def _as_float(is_SB: np.ndarray) -> np.ndarray:
    """Return 1 where true and 0 where false, float32."""
    return is_SB.view(np.uint8).astype(np.float32)
