"""Items that were liked together with a history, as of a day: candidates that no vector finds.

Legend: I = items, P = days on which a pair's weight grew, H = items of a history, M = neighbours of
an item, N = candidates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from features.cooccurrence import ONE, Cooccurrence, swings_of
from features.daily_sums import DAYS, days_of
from features.swing import SWING_ONE

NEGLIGIBLE = 1e-3
"""History items that weigh less are left out."""


BLOCK_PAIRS = 1 << 18
"""Pairs that are arranged at once, about."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Co-occurrence counts, arranged by either item of a pair."""

    counts: Cooccurrence
    """In them the pairs of an item with greater ones lie in a row."""

    lesser_I: np.ndarray
    """[I + 1] where these begin."""

    greater_I: np.ndarray
    """[I + 1] where the pairs of each item with lesser ones begin, in `row_P`."""

    row_P: np.ndarray
    """Rows of the counts by the greater item, then as they lie there."""

    key_P: np.ndarray
    """Of these rows the number of the lesser item * `DAYS` + day."""

    @classmethod
    def of(cls, counts: Cooccurrence) -> "Neighbours":
        """Arrange counts by item, a part of them at a time."""
        num_items, num_pairs = len(counts.item_ids), len(counts.pair_P)
        lesser_I = np.searchsorted(counts.pair_P, np.arange(num_items + 1) * num_items * DAYS)
        number = "int32" if num_pairs <= np.iinfo(np.int32).max else "int64"
        greater_P: np.ndarray = np.empty(num_pairs, dtype=number)
        greater_I = np.zeros(num_items + 1, dtype=np.int64)
        for start in range(0, num_pairs, BLOCK_PAIRS):
            part = slice(start, start + BLOCK_PAIRS)
            greater_P[part] = counts.pair_P[part] // DAYS % num_items
            greater_I[1:] += np.bincount(greater_P[part], minlength=num_items)
        greater_I = np.cumsum(greater_I)
        row_P, key_P = np.empty_like(greater_P), np.empty_like(counts.pair_P)
        for first, last in _item_blocks(greater_I):
            rows = np.flatnonzero((greater_P >= first) & (greater_P < last))
            rows = rows[np.argsort(greater_P[rows], kind="stable")]
            pair, day = np.divmod(counts.pair_P[rows], DAYS)
            part = slice(greater_I[first], greater_I[last])
            row_P[part], key_P[part] = rows, pair // num_items * DAYS + day
        return cls(counts, lesser_I, greater_I, row_P, key_P)

    def scores(self, history_H: np.ndarray, day: int, *, decay: float) -> np.ndarray:
        """Return [I] float64 sum over the history of decay^place times the pair's cosine.

        The cosine is that of `Cooccurrence.cosines`, of what was liked before the day.

        Args:
            history_H: numbers of the items, newest first; negative: not liked by then, which takes
                its place and adds nothing.
            day: as of `features.daily_sums.days_of`.
            decay: weight of an item beside the next newer one, in (0, 1].
        """
        scores_I = np.zeros(len(self.counts.item_ids))
        for place, item in enumerate(history_H):
            if decay**place < NEGLIGIBLE:
                break
            if item < 0:
                continue
            other_M, weight_M = self._before(item, day)
            users_M = self.counts.users(other_M, np.full(len(other_M), day))
            users = self.counts.users(np.array([item]), np.array([day]))
            scores_I[other_M] += decay**place * weight_M / ONE / np.sqrt(users * users_M)
        return scores_I

    def _before(self, item: int, day: int) -> tuple[np.ndarray, np.ndarray]:
        """Return every item liked together with one before a day, and the weight by then."""
        with_lesser, with_greater, none = self._pairs_of(item)
        keys = self.key_P[with_lesser], self.counts.pair_P[with_greater] - none
        weights = self.counts.weight_P
        weight_M = np.concatenate([weights[self.row_P[with_lesser]], weights[with_greater]])
        other_M, day_M = np.divmod(np.concatenate(keys), DAYS)
        known_M = np.flatnonzero(day_M < day)
        other_M = other_M[known_M]
        is_newest_M = np.append(other_M[1:] != other_M[:-1], True)[: len(other_M)]
        return other_M[is_newest_M], weight_M[known_M][is_newest_M]

    def _pairs_of(self, item: int) -> tuple[slice, slice, int]:
        """Return where the pairs of an item lie, in `row_P` and in the counts, and their least key.

        What is above that in the keys of the counts is the other item and the day.
        """
        return (
            slice(self.greater_I[item], self.greater_I[item + 1]),
            slice(self.lesser_I[item], self.lesser_I[item + 1]),
            int(item) * len(self.counts.item_ids) * DAYS,
        )

    def cosines(self, candidate_N: np.ndarray, history_H: np.ndarray, day: int) -> np.ndarray:
        """Return [N, H] float64 `Cooccurrence.cosines` of each candidate with each history item.

        Args:
            candidate_N: numbers of items; negative: not liked by then, which has 0.
            history_H: the same.
            day: as of `scores`.
        """
        cosine_NH = self._amounts(self.counts.weight_P, candidate_N, history_H, day) / ONE
        row_M, place_M = np.nonzero(cosine_NH)
        users_M = self.counts.users(candidate_N[row_M], np.full(len(row_M), day))
        users_M *= self.counts.users(history_H[place_M], np.full(len(row_M), day))
        cosine_NH[row_M, place_M] /= np.sqrt(users_M)
        return cosine_NH

    def swings(self, candidate_N: np.ndarray, history_H: np.ndarray, day: int) -> np.ndarray:
        """Return [N, H] float64 `Cooccurrence.swings` of each candidate with each history item.

        Args:
            candidate_N: as of `cosines`.
            history_H: the same.
            day: the same.

        Raises:
            ValueError: Swing was not counted.
        """
        return (
            self._amounts(swings_of(self.counts.swing_P), candidate_N, history_H, day) / SWING_ONE
        )

    def _amounts(
        self, amount_P: np.ndarray, candidate_N: np.ndarray, history_H: np.ndarray, day: int
    ) -> np.ndarray:
        """Return [N, H] float64 the amount of each pair before a day; 0 of none."""
        amount_NH = np.zeros((len(candidate_N), len(history_H)))
        order_N = np.argsort(candidate_N)  # a search of rising keys finds them near each other
        key_N = candidate_N[order_N] * DAYS + day
        for place, item in enumerate(history_H):
            if item < 0:
                continue
            with_lesser, with_greater, none = self._pairs_of(item)
            split = int(np.searchsorted(key_N, int(item) * DAYS))
            found, row = _newest(self.key_P[with_lesser], key_N[:split])
            amount_NH[order_N[:split][found], place] = amount_P[self.row_P[with_lesser][row]]
            found, row = _newest(self.counts.pair_P[with_greater], key_N[split:] + none)
            amount_NH[order_N[split:][found], place] = amount_P[with_greater][row]
        return amount_NH


def _item_blocks(start_I: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield first and past-the-last items that have about `BLOCK_PAIRS` pairs together.

    Args:
        start_I: [I + 1] where the pairs of each item begin.
    """
    first, num_items = 0, len(start_I) - 1
    while first < num_items:
        last = int(np.searchsorted(start_I, start_I[first] + BLOCK_PAIRS, side="right")) - 1
        yield first, (first := min(max(last, first + 1), num_items))


def _newest(key_M: np.ndarray, asked_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the keys asked have a row of the same thing before them, and that row."""
    if not len(key_M):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    row_N = np.searchsorted(key_M, asked_N) - 1
    found = np.flatnonzero((row_N >= 0) & (key_M[row_N] // DAYS == asked_N // DAYS))
    return found, row_N[found]


@dataclass(frozen=True, slots=True, eq=False)
class NeighboursNow:
    """What is liked together with a history, as far as it was known at one midnight."""

    neighbours: Neighbours

    day: int
    """What was liked before it counts; as of `features.daily_sums.days_of`."""

    decay: float = 0.9
    """Weight of an item of the history beside the next newer one, in (0, 1]."""

    @classmethod
    def at(cls, neighbours: Neighbours, now: datetime) -> "NeighboursNow":
        """Return what counts on the day (UTC) of a moment with a time zone."""
        return cls(neighbours, int(days_of(pl.Series([now]).dt.convert_time_zone("UTC"))[0]))

    def nearest(self, history: Sequence[str]) -> list[str]:
        """Return every item that was liked together with a history, newest first: the best first.

        By `Neighbours.scores`, equal ones in order of item id; those of the history may be among
        them.
        """
        scores_I = self.neighbours.scores(self._rows(history), self.day, decay=self.decay)
        found = np.flatnonzero(scores_I)
        ordered = found[np.argsort(-scores_I[found], kind="stable")]
        return self.neighbours.counts.item_ids.gather(ordered).to_list()

    def because(self, history: Sequence[str], item_ids: Sequence[str]) -> list[str | None]:
        """Return for each item what of the history it was liked together with most; None: none."""
        history_H = self._rows(history)
        cosine_NH = self.neighbours.cosines(self._rows(item_ids), history_H, self.day)
        part_NH = cosine_NH * self.decay ** np.arange(len(history_H))
        best_N = part_NH.argmax(axis=1)
        return [
            history[best] if part_NH[row, best] > 0 else None for row, best in enumerate(best_N)
        ]

    def _rows(self, item_ids: Sequence[str]) -> np.ndarray:
        return self.neighbours.counts.rows_of(pl.Series(item_ids, dtype=pl.String))
