"""Interaction matrix: who liked what, sparse.

Shape legend: U = users, I = items
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_array


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Users by items, as collaborative filtering counts them."""

    liked_UI: csr_array
    """1.0 where the user liked the item, however often."""

    item_ids: list[str]
    """Of the columns, sorted."""


def interaction_matrix(positives: pl.DataFrame) -> Interactions:
    """Return the matrix of `positives` (user_id, item_id), users and items sorted by id."""
    liked = positives.select("user_id", "item_id").unique()
    users = liked["user_id"].unique().sort()
    items = liked["item_id"].unique().sort()
    places = (
        users.search_sorted(liked["user_id"]).to_numpy(),
        items.search_sorted(liked["item_id"]).to_numpy(),
    )
    matrix = csr_array((np.ones(len(liked)), places), shape=(len(users), len(items)))
    matrix.sort_indices()
    return Interactions(matrix, items.to_list())
