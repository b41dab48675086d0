"""How many items a history holds besides the candidate, and whether the candidate is one of them.

Legend: N = impressions, P = items of all histories, K = those of a history that are alike, counted
once.
"""

import numpy as np
import polars as pl

from features.centred_embeddings import CentredEmbeddings
from features.histories import Pasts


def history_sizes(
    item_ids: pl.Series,
    request_N: np.ndarray,
    row_N: np.ndarray,
    past: Pasts,
    row_P: np.ndarray,
    centred: CentredEmbeddings,
) -> tuple[np.ndarray, np.ndarray]:
    """Return two of [N]: items of the history that are not the candidate, and whether it was there.

    Its exact duplicates are the candidate here, but for whether it was there.

    Args:
        item_ids: [N] the candidates, by the names of their vectors.
        request_N: of each its request, a row of the histories.
        row_N: rows in the embeddings; -1: no vector.
        past: the histories.
        row_P: rows in the embeddings of their items; -1: no vector.
        centred: the embeddings.
    """
    request_P = past.request_P
    item_N, item_P = _numbers(item_ids, row_N, past.item_ids, row_P, len(centred.item_ids))
    num_rows = len(centred.item_ids)  # which the numbers of what is alike stay below
    span = 1 + int(max(item_N.max(initial=num_rows), item_P.max(initial=num_rows)))
    same_N, same_P = item_N, item_P
    if len(centred.item_ids):
        same_N = np.where(row_N >= 0, centred.same_N[row_N], item_N)
        same_P = np.where(row_P >= 0, centred.same_N[row_P], item_P)
    past_K, num_K = np.unique(request_P * span + same_P, return_counts=True)
    asked_N = request_N * span + same_N
    place_N = np.minimum(np.searchsorted(past_K, asked_N), max(len(past_K) - 1, 0))
    left_out_N = np.zeros(len(asked_N), dtype=np.int64)
    if len(past_K):
        left_out_N = np.where(past_K[place_N] == asked_N, num_K[place_N], 0)
    is_repeat_N = np.isin(request_N * span + item_N, request_P * span + item_P)
    return past.size_R[request_N] - left_out_N, is_repeat_N


def _numbers(
    asked: pl.Series, row_N: np.ndarray, past: pl.Series, row_P: np.ndarray, num_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a number for each item, asked and past: its row, or one above all rows."""
    without_N, without_P = np.flatnonzero(row_N < 0), np.flatnonzero(row_P < 0)
    if not len(without_N) and not len(without_P):
        return row_N, row_P
    unknown = pl.concat([asked.gather(without_N), past.gather(without_P)])
    number = num_rows + unknown.rank("dense").cast(pl.Int64).to_numpy()
    item_N, item_P = row_N.copy(), row_P.copy()
    item_N[without_N], item_P[without_P] = number[: len(without_N)], number[len(without_N) :]
    return item_N, item_P
