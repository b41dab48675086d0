"""Swing: two users who both liked two items say the more of the items, the less else they share.

Counted as likes come, so that what is known of a day never changes: a pair of users adds to a pair
of items once, when the last of their four likes is there, with what they had in common by then.
(Yang et al. 2020, arXiv 2010.05525, section 3.1, counts over all likes at once. A newly liked item
meets the users who liked it last, and of its user's items the newest, so that a day costs what its
likes do.)

Legend: L = likes, N = new likes, B = a like's partners, I = items.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SWING_ONE = 1 << 30
"""The whole number that stands for a Swing weight of 1."""

CHUNK_LIKES = 20_000
"""New likes looked at together: 400,000 questions at a time, 20 MB."""

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of each contribution the like, how many likes of its user before it the partner is, and the
amount in units of 1 / `SWING_ONE`; int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SwingConfig:
    """Which pairs of users are looked at."""

    max_partners: int = 20
    """A newly liked item is paired with this many items that its user liked last before."""

    max_fellows: int = 20
    """And its user with this many users who liked it last before."""

    alpha: float = 1.0
    """Softens the differences between small overlaps."""

    def __post_init__(self) -> None:
        if min(self.max_partners, self.max_fellows) <= 0 or self.alpha < 0:
            raise ValueError(
                "max_partners and max_fellows must be > 0 and alpha >= 0, got "
                f"{self.max_partners}, {self.max_fellows} and {self.alpha}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class NumberedLikes:
    """Likes by number, a user's in a row, each item of a user once."""

    user_L: np.ndarray
    item_L: np.ndarray

    place_L: np.ndarray
    """How many items the user liked before."""

    order_L: np.ndarray
    """Place of each among the likes of all users, by time; each once."""

    is_new_L: np.ndarray
    """What is counted; the others are known."""


def swings(likes: NumberedLikes, num_items: int, config: SwingConfig) -> Iterator[Found]:
    """Yield what new likes add to pairs of items.

    A like of j by u, and v who liked j before, add ``w(u) w(v) / (alpha + 1 + c)`` to the pair of j
    and each of the c items that both had liked, among those of u that are looked at; w of a user is
    1 / sqrt(items liked, when they liked j).

    Args:
        likes: of all users.
        num_items: I.
        config: which pairs of users are looked at.
    """
    user_L, item_L, order_L = likes.user_L, likes.item_L, likes.order_L
    weight_L = 1 / np.sqrt(likes.place_L + 1.0)
    known = _Known.of(likes, num_items)
    by_item_L = np.lexsort((order_L, item_L))
    rank_L = np.empty_like(by_item_L)
    rank_L[by_item_L] = np.arange(len(by_item_L))
    back_B = np.arange(1, config.max_partners + 1)
    new = np.flatnonzero(likes.is_new_L)
    for start in range(0, len(new), CHUNK_LIKES):
        like_N = new[start : start + CHUNK_LIKES]
        partner_NB = np.maximum(like_N[:, None] - back_B, 0)
        is_own_NB = back_B <= likes.place_L[like_N, None]
        for back in range(1, config.max_fellows + 1):
            fellow_N = by_item_L[np.maximum(rank_L[like_N] - back, 0)]
            met = np.flatnonzero((rank_L[like_N] >= back) & (item_L[fellow_N] == item_L[like_N]))
            like_M, fellow_M = like_N[met], fellow_N[met]
            asked_MB = user_L[fellow_M, None] * num_items + item_L[partner_NB[met]]
            shared_MB = is_own_NB[met] & known.before(asked_MB, order_L[like_M, None])
            overlap_M = config.alpha + 1 + shared_MB.sum(axis=1)
            amount_M = np.rint(SWING_ONE * weight_L[like_M] * weight_L[fellow_M] / overlap_M)
            row, place = np.nonzero(shared_MB)
            yield like_M[row], back_B[place], amount_M[row].astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Who liked what, and when."""

    key_L: np.ndarray
    """Rising: user * I + item."""

    order_L: np.ndarray

    @classmethod
    def of(cls, likes: NumberedLikes, num_items: int) -> "_Known":
        key_L = likes.user_L * num_items + likes.item_L
        sorted_L = np.argsort(key_L)
        return cls(key_L[sorted_L], likes.order_L[sorted_L])

    def before(self, asked: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Return whether each user liked each item before a place in the order of all likes."""
        row = np.minimum(np.searchsorted(self.key_L, asked), len(self.key_L) - 1)
        return (self.key_L[row] == asked) & (self.order_L[row] < order)
