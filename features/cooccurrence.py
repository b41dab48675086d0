"""Which items were liked by the same users, as of any day: what item-item neighbours rest on.

A pair of items counts from the day on which a user who liked one likes the other, for each user
once. Asked for a day, the counts are of what happened strictly before it, whatever came since: so
a table of March, a table of all years and a service that counts at midnight agree.

Weights are whole numbers, so a sum is the same in whatever order and however many steps it is made.
A pair has one that tells how many users liked both; and another one, Swing (`features.swing`),
where that is asked for.

Legend: I = items, P = days on which a pair's weight grew, Q = days on which an item's users grew,
L = likes, N = anything asked, A = 1, or 2 with Swing.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catalog.atomic_file import write_atomically
from catalog.lake.tables import EVENTS
from features.daily_sums import DAYS, Amounts, rows_before, running_sums, sums_at
from features.histories import HistoryConfig, positive_events
from features.sorted_ids import rows_in
from features.swing import SWING_ONE, NumberedLikes, SwingConfig, swings

ONE = 1 << 20
"""The whole number that stands for a weight of 1."""

CHUNK_LIKES = 4_000
"""Likes that are paired at once: 200,000 pairs, 16 MB while they are summed up."""


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

    swing_P: np.ndarray | None
    """int64, in units of 1 / `SWING_ONE`: Swing of the pair, up to the end of that day. None: it
    was not counted."""

    item_Q: np.ndarray
    """Rising int64: item * `DAYS` + day."""

    users_Q: np.ndarray
    """int64: users who liked the item up to the end of that day."""

    likes: pl.DataFrame
    """user_id, item_id, ts: the first time that each user liked each item; what grows the rest."""

    def rows_of(self, item_ids: pl.Series) -> np.ndarray:
        """Return [N] number of each item, int64; -1 for one that nobody has liked."""
        return rows_in(self.item_ids, item_ids)

    def _before(
        self, amount_P: np.ndarray, left_N: np.ndarray, right_N: np.ndarray, day_N: np.ndarray
    ) -> np.ndarray:
        """Return [N] float64 the amount of each pair before a day; 0 of none."""
        pair_N = _pair(left_N, right_N, len(self.item_ids))
        return sums_at(amount_P, *rows_before(self.pair_P, pair_N, day_N))

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
        """Return [N] float64 weight / sqrt(users of one * users of the other), in [0, 1].

        To the weight each user who liked both adds 1 / log2(1 + n), n the items they liked when the
        pair was made: who likes everything says little of any two (inverse user frequency).
        """
        found_N = self._before(self.weight_P, left_N, right_N, day_N) / ONE
        hit_M = np.flatnonzero(found_N)
        users_M = self.users(left_N[hit_M], day_N[hit_M]) * self.users(right_N[hit_M], day_N[hit_M])
        found_N[hit_M] /= np.sqrt(users_M)
        return found_N

    def swings(self, left_N: np.ndarray, right_N: np.ndarray, day_N: np.ndarray) -> np.ndarray:
        """Return [N] float64 Swing of each pair before a day, >= 0.

        Raises:
            ValueError: it was not counted.
        """
        return self._before(swings_of(self.swing_P), left_N, right_N, day_N) / SWING_ONE

    def save(self, path: Path) -> None:
        """Write the counts in one step."""
        likes = io.BytesIO()
        self.likes.write_parquet(likes, compression="zstd")
        columns: dict[str, Any] = {
            "pair_P": self.pair_P,
            "weight_P": self.weight_P,
            "item_Q": self.item_Q,
            "users_Q": self.users_Q,
            "likes": np.frombuffer(likes.getvalue(), dtype=np.uint8),
        }
        if self.swing_P is not None:
            columns["swing_P"] = self.swing_P

        def write(to: Path) -> None:
            with to.open("wb") as file:
                np.savez(file, **columns)

        write_atomically(path, write)

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
                pairs = kept["pair_P"], kept["weight_P"], kept.get("swing_P")
                users = kept["item_Q"], kept["users_Q"]
        except (KeyError, OSError, ValueError, pl.exceptions.PolarsError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{path} must hold co-occurrence counts; remove it") from error
        return cls(likes["item_id"].unique().sort(), *pairs, *users, likes)


def swings_of(swing_P: np.ndarray | None) -> np.ndarray:
    """Return what was counted of Swing.

    Raises:
        ValueError: nothing was.
    """
    if swing_P is None:
        raise ValueError(
            "Swing must have been counted to be asked for, got counts without it; count it"
        )
    return swing_P


def cooccurrence(
    events: pl.DataFrame,
    *,
    config: CooccurrenceConfig | None = None,
    earlier: Cooccurrence | None = None,
    with_swing: bool = False,
) -> Cooccurrence:
    """Count what was liked together.

    Args:
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        config: which likes make a pair; the defaults when None. That of `earlier`.
        earlier: counts of all events before the first of these, which they are added to.
        with_swing: whether Swing is counted as well; takes a third more memory, and with `earlier`
            it is as there.

    Raises:
        ValueError: an event is older than what was counted earlier.
    """
    config = config or CooccurrenceConfig()
    earlier = earlier or _nothing(with_swing=with_swing)
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
    numbered = _numbered(likes, item_ids, with_order=earlier.swing_P is not None)
    known = [each for each in (earlier.weight_P, earlier.swing_P) if each is not None]
    pair_P, amount_AP = running_sums(
        _pairs(numbered, len(item_ids), config, with_swing=len(known) > 1),
        (_moved(earlier, item_ids), np.stack(known)),
    )
    item_Q, users_1Q = running_sums(
        [_users(numbered)], (_moved_items(earlier, item_ids), earlier.users_Q[None])
    )
    likes = likes.drop("is_new")
    swing_P = amount_AP[1] if len(known) > 1 else None
    return Cooccurrence(item_ids, pair_P, amount_AP[0], swing_P, item_Q, users_1Q[0], likes)


def _nothing(*, with_swing: bool) -> Cooccurrence:
    none = np.zeros(0, dtype=np.int64)
    likes = EVENTS.empty().select("user_id", "item_id", "ts")
    swing_P = none if with_swing else None
    return Cooccurrence(likes["item_id"], none, none, swing_P, none, none, likes)


def _first_likes(positives: pl.DataFrame) -> pl.DataFrame:
    return positives.group_by("user_id", "item_id").agg(pl.col("ts").min())


def _check_order(fresh: pl.DataFrame, earlier: Cooccurrence) -> None:
    known, new = earlier.likes["ts"].max(), fresh["ts"].min()
    if isinstance(known, datetime) and isinstance(new, datetime) and new < known:
        raise ValueError(
            f"events must not be older than what was counted, got one of {new.isoformat()} and "
            f"counts up to {known.isoformat()}; count from the beginning"
        )


def _numbered(likes: pl.DataFrame, item_ids: pl.Series, *, with_order: bool) -> pl.DataFrame:
    """Return user, item, day, place among the user's, and whether it is new; users in a row.

    With order also the place among all, which Swing asks for.
    """
    index = pl.DataFrame({"item_id": item_ids}).with_row_index("item")
    order = pl.struct("ts", "user_id", "item_id").rank("ordinal").cast(pl.Int64)
    return (
        likes.join(index, on="item_id", how="left", maintain_order="left")
        .select(
            user=pl.col("user_id").rle_id(),
            item=pl.col("item").cast(pl.Int64),
            day=pl.col("ts").dt.epoch("d").cast(pl.Int64) + DAYS // 2,
            is_new="is_new",
            **({"order": order} if with_order else {}),
        )
        .with_columns(place=pl.int_range(pl.len()).over("user"))
    )


def _pairs(
    numbered: pl.DataFrame, num_items: int, config: CooccurrenceConfig, *, with_swing: bool
) -> Iterator[Amounts]:
    """Yield every pair that a new like makes, on its day, with its weight, and Swing: [A, P]."""
    chunks = _chunks_of_pairs(numbered, num_items, config)
    if not with_swing:
        yield from ((keys, weights[None]) for keys, weights in chunks)
        return
    yield from ((keys, np.stack([w, np.zeros_like(w)])) for keys, w in chunks)
    for keys, swing in _swings(numbered, num_items, config):
        yield keys, np.stack([np.zeros_like(swing), swing])


def _swings(
    numbered: pl.DataFrame, num_items: int, config: CooccurrenceConfig
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    names = ("user", "item", "place", "order", "is_new")
    likes = NumberedLikes(*(numbered[name].to_numpy() for name in names))
    day_L, item_L = numbered["day"].to_numpy(), likes.item_L
    for like_M, back_M, amount_M in swings(likes, num_items, config.swing):
        pair_M = _pair(item_L[like_M], item_L[like_M - back_M], num_items)
        yield pair_M * DAYS + day_L[like_M], amount_M


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
            amounts.append(weight_L[later])
        yield np.concatenate(keys), np.concatenate(amounts)


def _users(numbered: pl.DataFrame) -> Amounts:
    """Return every new like of an item, on its day."""
    key = numbered.filter("is_new").select(pl.col("item") * DAYS + pl.col("day"))
    key_N = key.to_series().to_numpy()
    return key_N, np.ones((1, len(key_N)), dtype=np.int64)


def _moved(earlier: Cooccurrence, item_ids: pl.Series) -> np.ndarray:
    """Return the keys of pairs under the numbers that items have by now; their order stays."""
    if len(earlier.item_ids) in (0, len(item_ids)):
        return earlier.pair_P
    number_I = np.searchsorted(item_ids.to_numpy(), earlier.item_ids.to_numpy())
    pair_P, day_P = np.divmod(earlier.pair_P, DAYS)
    low_P, high_P = np.divmod(pair_P, len(number_I))
    return (number_I[low_P] * len(item_ids) + number_I[high_P]) * DAYS + day_P


def _moved_items(earlier: Cooccurrence, item_ids: pl.Series) -> np.ndarray:
    number_I = np.searchsorted(item_ids.to_numpy(), earlier.item_ids.to_numpy())
    item_Q, day_Q = np.divmod(earlier.item_Q, DAYS)
    return number_I[item_Q] * DAYS + day_Q if len(number_I) else earlier.item_Q
