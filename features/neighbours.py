"""Items that were liked together with a history, as of a day: candidates that no vector finds.

Legend: I = items, P = days on which a pair's weight grew, counted from either of its items,
H = items of a history, M = neighbours of an item, N = candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from features.cooccurrence import ONE, Cooccurrence, swings_of
from features.daily_sums import DAYS, days_of
from features.swing import SWING_ONE

NEGLIGIBLE = 1e-3
"""History items that weigh less are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Co-occurrence counts, arranged by item."""

    counts: Cooccurrence

    start_I: np.ndarray
    """[I + 1] where the rows of each item begin."""

    key_P: np.ndarray
    """Rising for each item: number of the item liked together with it * `DAYS` + day."""

    weight_P: np.ndarray
    """Of the pair, up to the end of that day; in units of 1 / `ONE`."""

    swing_P: np.ndarray | None
    """Swing of the pair, up to the end of that day; in units of 1 / `SWING_ONE`. None: it was not
    counted."""

    @classmethod
    def of(cls, counts: Cooccurrence) -> "Neighbours":
        """Arrange counts by item."""
        num_items = max(len(counts.item_ids), 1)
        pair_P, day_P = np.divmod(counts.pair_P, DAYS)
        lesser_P, greater_P = np.divmod(pair_P, num_items)
        one_P = np.concatenate([lesser_P, greater_P])
        other_P = np.concatenate([greater_P, lesser_P])
        key_P = other_P * DAYS + np.tile(day_P, 2)
        order_P = np.lexsort((key_P, one_P))
        start_I = np.searchsorted(one_P[order_P], np.arange(len(counts.item_ids) + 1))
        weight_P, swing_P = (
            None if amount_P is None else np.tile(amount_P, 2)[order_P]
            for amount_P in (counts.weight_P, counts.swing_P)
        )
        assert weight_P is not None
        return cls(counts, start_I, key_P[order_P], weight_P, swing_P)

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
            if item < 0 or self.start_I[item] == self.start_I[item + 1]:
                continue
            other_M, weight_M = self._before(item, day)
            users_M = self.counts.users(other_M, np.full(len(other_M), day))
            users = self.counts.users(np.array([item]), np.array([day]))
            scores_I[other_M] += decay**place * weight_M / ONE / np.sqrt(users * users_M)
        return scores_I

    def _before(self, item: int, day: int) -> tuple[np.ndarray, np.ndarray]:
        """Return every item liked together with one before a day, and the weight by then."""
        rows = slice(self.start_I[item], self.start_I[item + 1])
        other_M, day_M = np.divmod(self.key_P[rows], DAYS)
        known_M = np.flatnonzero(day_M < day)
        other_M = other_M[known_M]
        is_newest_M = np.append(other_M[1:] != other_M[:-1], True)[: len(other_M)]
        return other_M[is_newest_M], self.weight_P[rows][known_M][is_newest_M]

    def cosines(self, candidate_N: np.ndarray, history_H: np.ndarray, day: int) -> np.ndarray:
        """Return [N, H] float64 `Cooccurrence.cosines` of each candidate with each history item.

        Args:
            candidate_N: numbers of items; negative: not liked by then, which has 0.
            history_H: the same.
            day: as of `scores`.
        """
        cosine_NH = self._amounts(self.weight_P, candidate_N, history_H, day) / ONE
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
        return self._amounts(swings_of(self.swing_P), candidate_N, history_H, day) / SWING_ONE

    def _amounts(
        self, amount_P: np.ndarray, candidate_N: np.ndarray, history_H: np.ndarray, day: int
    ) -> np.ndarray:
        """Return [N, H] float64 the amount of each pair before a day; 0 of none."""
        amount_NH = np.zeros((len(candidate_N), len(history_H)))
        order_N = np.argsort(candidate_N)  # a search of rising keys finds them near each other
        key_N = candidate_N[order_N] * DAYS + day
        for place, item in enumerate(history_H):
            if item < 0 or self.start_I[item] == self.start_I[item + 1]:
                continue
            rows = slice(self.start_I[item], self.start_I[item + 1])
            found_N = np.searchsorted(self.key_P[rows], key_N) - 1
            is_pair_N = (found_N >= 0) & (self.key_P[rows][found_N] // DAYS == key_N // DAYS)
            amount_NH[order_N[is_pair_N], place] = amount_P[rows][found_N[is_pair_N]]
        return amount_NH


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
