"""Where items stand in a column of ids in order."""

import numpy as np
import polars as pl


def rows_in(sorted_ids: pl.Series, item_ids: pl.Series) -> np.ndarray:
    """Return [N] int64 row of each item; -1 for one that is not there.

    Args:
        sorted_ids: unique ids in order.
        item_ids: those that are looked for, in any order.
    """
    if not len(sorted_ids):
        return np.full(len(item_ids), -1, dtype=np.int64)
    place_N = sorted_ids.search_sorted(item_ids).to_numpy().astype(np.int64)
    place_N = np.minimum(place_N, len(sorted_ids) - 1)
    return np.where((sorted_ids.gather(place_N) == item_ids).to_numpy(), place_N, -1)
