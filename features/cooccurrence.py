"""Which items were liked by the same users, as of any day: what item-item neighbours rest on.

A pair of items counts from the day on which a user who liked one likes the other, for each user
once. Asked for a day, the counts are of what happened strictly before it, whatever came since: so
a table of March, a table of all years and a service that counts at midnight agree.

Weights are whole numbers, so a sum is the same in whatever order and however many steps it is made.
A pair has two: how many users liked both, and Swing (`features.swing`).

Legend: I = items, P = days on which a pair's weight grew, Q = days on which an item's users grew,
L = likes, N = anything asked.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl

from catalog.atomic_file import write_atomically
from catalog.lake.tables import EVENTS
from features.daily_sums import DAYS, Amounts, grown, rows_before, summed, sums_at
from features.histories import HistoryConfig, positive_events
from features.swing import SWING_ONE, NumberedLikes, SwingConfig, swings

ONE = 1 << 20
"""The whole number that stands for a weight of 1."""

CHUNK_LIKES = 20_000
"""Likes that are paired at once: 1 M pairs, 40 MB while they are summed up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CooccurrenceConfig:
    """Which likes make a pair."""

    max_partners: int = 50
    """A newly liked item is paired with this many items that its user liked last before."""

    history: HistoryConfig = field(default_factory=HistoryConfig)
    """Which events are positive."""

    swing: SwingConfig = field(default_factory=SwingConfig)
    """Which pairs of users Swing looks at."""

    def __post_init__(self) -> None:
        if self.max_partners < self.swing.max_partners:
            raise ValueError(
                f"max_partners must be at least that of swing, {self.swing.max_partners}, got "
                f"{self.max_partners}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Cooccurrence:
    """Weights of pairs and users of items, day by day."""

    item_ids: pl.Series
    """[I] every item ever liked, rising."""

    pair_P: np.ndarray
    """Rising int64: (lesser item * I + greater item) * `DAYS` + day."""

    weight_P: np.ndarray
    """int64, in units of 1 / `ONE`: of the pair, up to the end of that day."""

    swing_P: np.ndarray
    """int64, in units of 1 / `SWING_ONE`: Swing of the pair, up to the end of that day."""

    item_Q: np.ndarray
    """Rising int64: item * `DAYS` + day."""

    users_Q: np.ndarray
    """int64: users who liked the item up to the end of that day."""

    likes: pl.DataFrame
    """user_id, item_id, ts: the first time that each user liked each item; what grows the rest."""

    def rows_of(self, item_ids: pl.Series) -> np.ndarray:
        """Return [N] number of each item, int64; -1 for one that nobody has liked."""
        if not len(self.item_ids):
            return np.full(len(item_ids), -1, dtype=np.int64)
        places_N = self.item_ids.search_sorted(item_ids).to_numpy().astype(np.int64)
        places_N = np.minimum(places_N, len(self.item_ids) - 1)
        is_there_N = (self.item_ids[places_N] == item_ids).to_numpy()
        return np.where(is_there_N, places_N, -1)

    def _together(
        self, left_N: np.ndarray, right_N: np.ndarray, day_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return two of [N] float64: weight and Swing of each pair before a day; 0 of none.

        To the weight each user who liked both adds 1 / log2(1 + n), n the items they liked when the
        pair was made: who likes everything says little of any two (inverse user frequency).
        """
        pair_N = _pair(left_N, right_N, len(self.item_ids))
        row_N, is_there_N = rows_before(self.pair_P, pair_N, day_N)
        return (
            sums_at(self.weight_P, row_N, is_there_N) / ONE,
            sums_at(self.swing_P, row_N, is_there_N) / SWING_ONE,
        )

    def pairs(self, day: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the two item numbers and the weight, float64, of each pair liked before a day."""
        pair_P, day_P = np.divmod(self.pair_P, DAYS)
        known = np.flatnonzero(day_P < day)
        pair_M = pair_P[known]
        is_newest_M = np.append(pair_M[1:] != pair_M[:-1], True)[: len(pair_M)]
        one_K, other_K = np.divmod(pair_M[is_newest_M], max(len(self.item_ids), 1))
        return one_K, other_K, self.weight_P[known[is_newest_M]] / ONE

    def users(self, item_N: np.ndarray, day_N: np.ndarray) -> np.ndarray:
        """Return [N] float64 how many users liked each item before a day."""
        return sums_at(self.users_Q, *rows_before(self.item_Q, item_N, day_N))

    def cosines(self, left_N: np.ndarray, right_N: np.ndarray, day_N: np.ndarray) -> np.ndarray:
        """Return [N] float64 weight / sqrt(users of one * users of the other), in [0, 1]."""
        return self.cosines_and_swings(left_N, right_N, day_N)[0]

    def cosines_and_swings(
        self, left_N: np.ndarray, right_N: np.ndarray, day_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return two of [N] float64: `cosines`, and Swing of each pair, which is >= 0."""
        found_N, swing_N = self._together(left_N, right_N, day_N)
        hit_M = np.flatnonzero(found_N)
        users_M = self.users(left_N[hit_M], day_N[hit_M]) * self.users(right_N[hit_M], day_N[hit_M])
        found_N[hit_M] /= np.sqrt(users_M)
        return found_N, swing_N

    def save(self, path: Path) -> None:
        """Write the counts in one step."""
        buffer, likes = io.BytesIO(), io.BytesIO()
        self.likes.write_parquet(likes, compression="zstd")
        np.savez(
            buffer,
            pair_P=self.pair_P,
            weight_P=self.weight_P,
            swing_P=self.swing_P,
            item_Q=self.item_Q,
            users_Q=self.users_Q,
            likes=np.frombuffer(likes.getvalue(), dtype=np.uint8),
        )
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Cooccurrence":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is nothing.
            ValueError: the file is not one of counts.
        """
        try:
            with np.load(path, allow_pickle=False) as kept:
                likes = pl.read_parquet(io.BytesIO(kept["likes"].tobytes()))
                pairs = kept["pair_P"], kept["weight_P"], kept["swing_P"]
                users = kept["item_Q"], kept["users_Q"]
        except (KeyError, OSError, ValueError, pl.exceptions.PolarsError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{path} must hold co-occurrence counts; remove it") from error
        return cls(likes["item_id"].unique().sort(), *pairs, *users, likes)


def cooccurrence(
    events: pl.DataFrame,
    *,
    config: CooccurrenceConfig | None = None,
    earlier: Cooccurrence | None = None,
) -> Cooccurrence:
    """Count what was liked together.

    Args:
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        config: which likes make a pair; the defaults when None. That of `earlier`.
        earlier: counts of all events before the first of these, which they are added to.

    Raises:
        ValueError: an event is older than what was counted earlier.
    """
    config = config or CooccurrenceConfig()
    earlier = earlier or _nothing()
    positives = positive_events(events, config=config.history)
    fresh = _first_likes(positives).join(
        earlier.likes, on=["user_id", "item_id"], how="anti", maintain_order="left"
    )
    _check_order(fresh, earlier)
    if fresh.is_empty():
        return earlier
    likes = pl.concat(
        [earlier.likes.with_columns(is_new=False), fresh.with_columns(is_new=True)]
    ).sort("user_id", "ts", "item_id")
    item_ids = likes["item_id"].unique().sort()
    numbered = _numbered(likes, item_ids)
    pair_P, amount_P2 = grown(
        _moved(earlier, item_ids),
        np.stack([earlier.weight_P, earlier.swing_P], axis=1),
        _pairs(numbered, len(item_ids), config),
    )
    weight_P, swing_P = np.ascontiguousarray(amount_P2.T)
    item_Q, users_Q = grown(_moved_items(earlier, item_ids), earlier.users_Q, _users(numbered))
    likes = likes.drop("is_new")
    return Cooccurrence(item_ids, pair_P, weight_P, swing_P, item_Q, users_Q, likes)


def _nothing() -> Cooccurrence:
    none = np.zeros(0, dtype=np.int64)
    likes = EVENTS.empty().select("user_id", "item_id", "ts")
    return Cooccurrence(likes["item_id"], none, none, none, none, none, likes)


def _first_likes(positives: pl.DataFrame) -> pl.DataFrame:
    return positives.group_by("user_id", "item_id").agg(pl.col("ts").min())


def _check_order(fresh: pl.DataFrame, earlier: Cooccurrence) -> None:
    known, new = earlier.likes["ts"].max(), fresh["ts"].min()
    if isinstance(known, datetime) and isinstance(new, datetime) and new < known:
        raise ValueError(
            f"events must not be older than what was counted, got one of {new.isoformat()} and "
            f"counts up to {known.isoformat()}; count from the beginning"
        )


def _numbered(likes: pl.DataFrame, item_ids: pl.Series) -> pl.DataFrame:
    """Return user, item, day, place among the user's and among all, and whether it is new.

    Users in a row.
    """
    index = pl.DataFrame({"item_id": item_ids}).with_row_index("item")
    return (
        likes.join(index, on="item_id", how="left", maintain_order="left")
        .select(
            user=pl.col("user_id").rle_id(),
            item=pl.col("item").cast(pl.Int64),
            day=pl.col("ts").dt.epoch("d").cast(pl.Int64) + DAYS // 2,
            is_new="is_new",
            order=pl.struct("ts", "user_id", "item_id").rank("ordinal").cast(pl.Int64),
        )
        .with_columns(place=pl.int_range(pl.len()).over("user"))
    )


def _pairs(numbered: pl.DataFrame, num_items: int, config: CooccurrenceConfig) -> Amounts:
    """Return every pair that a new like makes, on its day, with its weight and Swing."""
    chunks = (_chunks_of_pairs(numbered, num_items, config), _swings(numbered, num_items, config))
    parts = [summed(*chunk) for chunk in chain(*chunks)]
    keys, amounts = zip(*parts, strict=True)
    return summed(np.concatenate(keys), np.concatenate(amounts))


def _swings(
    numbered: pl.DataFrame, num_items: int, config: CooccurrenceConfig
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    names = ("user", "item", "place", "order", "is_new")
    likes = NumberedLikes(*(numbered[name].to_numpy() for name in names))
    day_L, item_L = numbered["day"].to_numpy(), likes.item_L
    for like_M, back_M, amount_M in swings(likes, num_items, config.swing):
        pair_M = _pair(item_L[like_M], item_L[like_M - back_M], num_items)
        yield pair_M * DAYS + day_L[like_M], np.stack([np.zeros_like(amount_M), amount_M], axis=1)


def _pair(one_N: np.ndarray, other_N: np.ndarray, num_items: int) -> np.ndarray:
    return np.minimum(one_N, other_N) * num_items + np.maximum(one_N, other_N)


def _chunks_of_pairs(
    numbered: pl.DataFrame, num_items: int, config: CooccurrenceConfig
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    user_L, item_L, day_L, new_L, place_L = (
        numbered[name].to_numpy() for name in ("user", "item", "day", "is_new", "place")
    )
    weight_L = np.rint(ONE / np.log2(place_L + 2)).astype(np.int64)  # place + 1 items, itself too
    for start in range(0, len(user_L), CHUNK_LIKES):
        keys, amounts = [], []
        for back in range(1, config.max_partners + 1):
            later = np.arange(max(start, back), min(start + CHUNK_LIKES, len(user_L)))
            later = later[new_L[later] & (user_L[later] == user_L[later - back])]
            pair = _pair(item_L[later], item_L[later - back], num_items)
            keys.append(pair * DAYS + day_L[later])
            amounts.append(np.stack([weight_L[later], np.zeros_like(later)], axis=1))
        yield np.concatenate(keys), np.concatenate(amounts)


def _users(numbered: pl.DataFrame) -> Amounts:
    """Return every new like of an item, on its day."""
    key = numbered.filter("is_new").select(pl.col("item") * DAYS + pl.col("day"))
    key_N = key.to_series().to_numpy()
    return summed(key_N, np.ones(len(key_N), dtype=np.int64))


def _moved(earlier: Cooccurrence, item_ids: pl.Series) -> np.ndarray:
    """Return the keys of pairs under the numbers that items have by now; their order stays."""
    number_I = np.searchsorted(item_ids.to_numpy(), earlier.item_ids.to_numpy())
    pair_P, day_P = np.divmod(earlier.pair_P, DAYS)
    low_P, high_P = np.divmod(pair_P, max(len(number_I), 1))
    if not len(number_I):
        return earlier.pair_P
    return (number_I[low_P] * len(item_ids) + number_I[high_P]) * DAYS + day_P


def _moved_items(earlier: Cooccurrence, item_ids: pl.Series) -> np.ndarray:
    number_I = np.searchsorted(item_ids.to_numpy(), earlier.item_ids.to_numpy())
    item_Q, day_Q = np.divmod(earlier.item_Q, DAYS)
    return number_I[item_Q] * DAYS + day_Q if len(number_I) else earlier.item_Q
