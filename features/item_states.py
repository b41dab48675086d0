"""What described items at any moment, looked up without a join.

Legend: S = states, I = items, N = anything asked.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.sorted_ids import rows_in

BEFORE_ALL = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, eq=False)
class ItemStates:
    """States of items, each item's in order of time."""

    item_ids: pl.Series
    """[I] rising."""

    begin_I: np.ndarray
    """[I + 1] where the states of each begin."""

    since_S: np.ndarray
    """int64, microseconds: from when on."""

    about_S: pl.DataFrame
    """category, price, created_at."""

    more: "ItemStates | None" = None
    """Of other items."""

    @classmethod
    def of(cls, states: pl.DataFrame) -> "ItemStates":
        """Arrange states.

        Args:
            states: item_id, category, price, created_at; one row per item, or one for each state
                with `since`, as `features.landings.item_histories` gives them.
        """
        if "price" not in states.columns:
            states = states.with_columns(price=pl.lit(None, pl.Float64))
        has_since = "since" in states.columns
        ordered = states.sort(["item_id", "since"] if has_since else ["item_id"])
        since_S = np.full(len(ordered), BEFORE_ALL)
        if has_since:
            since_S = ordered["since"].to_physical().to_numpy()
        runs = ordered.select(pl.col("item_id").rle()).unnest("item_id")
        begin_I = np.concatenate([[0], np.cumsum(runs["len"].to_numpy(), dtype=np.int64)])
        about = ordered.select("category", "price", "created_at")
        return cls(runs["value"], begin_I, since_S, about)

    def known(self, item_ids: pl.Series) -> np.ndarray:
        """Return [N] whether there are states of each item."""
        return rows_in(self.item_ids, item_ids) >= 0

    def at(self, item_ids: pl.Series, ts_N: np.ndarray) -> pl.DataFrame:
        """Return category, price and created_at of each item just before a moment; else null.

        Args:
            item_ids: of any items.
            ts_N: int64, microseconds.
        """
        place_N = rows_in(self.item_ids, item_ids)
        first_N = self.begin_I[place_N]
        low_N, high_N = first_N.copy(), self.begin_I[np.minimum(place_N + 1, len(self.item_ids))]
        while (is_open_N := low_N < high_N).any():  # the first state that is not before
            middle_N = (low_N + high_N) // 2
            is_before_N = is_open_N & (self.since_S[np.where(is_open_N, middle_N, 0)] < ts_N)
            low_N = np.where(is_before_N, middle_N + 1, low_N)
            high_N = np.where(is_open_N & ~is_before_N, middle_N, high_N)
        rows = pl.Series(low_N - 1)
        is_told = pl.Series((place_N >= 0) & (low_N > first_N))
        told = rows.zip_with(is_told, pl.Series([None], dtype=pl.Int64))
        found = self.about_S.select(pl.all().gather(told))
        if self.more is None:
            return found
        other = self.more.at(item_ids, ts_N)
        return found.select(pl.coalesce(name, other[name]).alias(name) for name in found.columns)
