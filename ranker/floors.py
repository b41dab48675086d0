"""What needs no training: popularity and item neighbours, under the rules that the ranker has.

Legend: U = users, I = items, E = first likes, H = items of a history.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from features.histories import positive_events
from ranker.rating_log import RatingLog

FLOORS: Mapping[str, float | None] = {"popularity": None, "item-kNN": 1.0, "item-kNN, recent": 0.8}
"""Name -> weight of a history item beside the next newer one; None where none is looked at."""


def floor_ranks(rated: RatingLog) -> dict[str, np.ndarray]:
    """Return by floor the place, from 1, of every user's held-out item, [U] by user.

    All unseen candidates are ranked, equal ones by id. `popularity`: how many users liked an item.
    `item-kNN`: cosines of items by who liked them, summed over the whole history (Sarwar et al.
    2001); where `recent` ones count more, each weighs .8 of the next newer one. What may be known
    is the log's rule, to the moment where it is `as_of`.
    """
    likes = (
        positive_events(rated.events, config=rated.features.history)
        .group_by("user_id", "item_id")
        .agg(pl.col("ts").min())
        .sort("ts", "item_id", "user_id")
    )
    items = pl.concat([likes["item_id"], rated.candidates]).unique().sort()
    item_E = items.search_sorted(likes["item_id"]).cast(pl.Int64).to_numpy()
    user_E = likes["user_id"].rank("dense").cast(pl.Int64).to_numpy()
    is_candidate_I = items.is_in(rated.candidates.implode()).to_numpy()
    ranks: dict[str, list[int]] = {name: [] for name in FLOORS}
    for user, answer, moment in rated.held_out.select("user_id", "item_id", "ts").iter_rows():
        is_own_E = (likes["user_id"] == user).to_numpy()
        is_free_I = is_candidate_I.copy()
        is_free_I[item_E[is_own_E]] = False
        known = slice(None)
        if rated.rules.known == "as_of":
            known = slice(0, int(likes["ts"].search_sorted(moment)))
        history_H = item_E[known][is_own_E[known]][::-1]
        place = items.search_sorted(answer)
        for name, decay in FLOORS.items():
            score_I = _scores(user_E[known], item_E[known], history_H, decay, len(items))
            better_I = is_free_I & (score_I > score_I[place])
            equal_I = is_free_I[:place] & (score_I[:place] == score_I[place])
            ranks[name].append(1 + int(better_I.sum()) + int(equal_I.sum()))
    return {name: np.array(values, dtype=np.float64) for name, values in ranks.items()}


def _scores(
    user_E: np.ndarray,
    item_E: np.ndarray,
    history_H: np.ndarray,
    decay: float | None,
    num_items: int,
) -> np.ndarray:
    """Return [I] float64 scores."""
    users_I = np.bincount(item_E, minlength=num_items)
    if decay is None or not len(item_E):
        return users_I.astype(np.float64)
    norm_I = np.sqrt(np.maximum(users_I, 1))
    weight_I = np.zeros(num_items)
    weight_I[history_H] = decay ** np.arange(len(history_H)) / norm_I[history_H]
    alike_U = np.bincount(user_E, weights=weight_I[item_E])
    return np.bincount(item_E, weights=alike_U[user_E], minlength=num_items) / norm_I
