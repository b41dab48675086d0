"""Cosines of candidates with histories, request by request, and what sums them up.

Each product is taken in the shape of its own request and each statistic over the same number of
slots. That makes a row equal to the last bit whichever other requests are computed with it; with
other candidates of its own request, or in another order, it is equal to 1e-5. A product is too
small for several threads: two of BLAS wait for each other more than they work, so one is used.

Legend: N = impressions, R = requests, B = impressions of one block, m = candidates of a request,
n = history items of a request that have a vector, S = slots, T = half-lives, K = largest kept or
tiers, D = dimension.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from threadpoolctl import ThreadpoolController

from features.centred_embeddings import CentredEmbeddings

BLOCK_ROWS = 8_192
"""Impressions whose cosines are held at once: 1.6 MB at 50 slots, so they stay in the cache."""

BELOW = np.float32(-2)
"""Stands for no cosine where the largest are looked for."""

CANCELLED = 1e-5
"""A profile shorter than this share of its weights is rounding noise: the history cancels."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Candidates and histories as rows of the embeddings, request by request."""

    order_N: np.ndarray
    """Impressions sorted by request; within one, as they came."""

    candidate_N: np.ndarray
    """Row in the embeddings of each candidate, in `order_N`; -1: no vector."""

    first_R: np.ndarray
    """[R + 1] where each request starts in `order_N`."""

    history: tuple[np.ndarray, ...]
    """R arrays [n] of rows in the embeddings, newest first."""

    ages_h: tuple[np.ndarray, ...]
    """R arrays [n], hours, float32."""

    slots: int
    """S, the most items that are compared. A history may have more: the candidate and its exact
    duplicates are left out before they are counted."""

    @classmethod
    def of(
        cls,
        impressions: pl.DataFrame,
        histories: pl.DataFrame,
        centred: CentredEmbeddings,
        *,
        slots: int,
    ) -> "Groups":
        """Group the arguments of `features.match.match_features` by request.

        Raises:
            ValueError: an impression's request has no row in `histories`.
        """
        index = histories.select("request").with_row_index("row")
        found = impressions.select("request").join(
            index, on="request", how="left", maintain_order="left", validate="m:1"
        )
        if found["row"].null_count():
            lost = found.filter(pl.col("row").is_null())["request"][0]
            raise ValueError(
                f"every impression's request must have a history, got none for {lost!r}; "
                "build the histories from the same impressions"
            )
        request_N = found["row"].to_numpy()
        order_N = np.argsort(request_N, kind="stable")
        first_R = np.searchsorted(request_N[order_N], np.arange(len(histories) + 1))
        history, ages_h = _vector_histories(histories, centred)
        candidate_N = centred.rows_of(impressions["item_id"])[order_N]
        return cls(order_N, candidate_N, first_R, history, ages_h, slots)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of requests, each of about `BLOCK_ROWS` impressions."""
        begin = 0
        while begin < len(self.history):
            limit = self.first_R[begin] + BLOCK_ROWS
            end = max(begin + 1, int(np.searchsorted(self.first_R, limit, side="right")) - 1)
            yield begin, end
            begin = end


def similarity_table(
    groups: Groups,
    centred: CentredEmbeddings,
    *,
    top_k: Sequence[int],
    half_lives_h: Sequence[float],
    num_tiers: int,
) -> np.ndarray:
    """Compute every similarity feature of every impression, in the order the impressions came.

    Returns:
        [N, 4 + len(top_k) + T + 2 * num_tiers] float32: max, mean, top-k means, last, max of the
        last five, profiles, tier shares, log1p of tier counts. NaN where there is no vector or
        nothing to compare with; a profile is also NaN where the history cancels.
    """
    num_columns = 4 + len(top_k) + len(half_lives_h) + 2 * num_tiers
    table = np.empty((len(groups.order_N), num_columns), dtype=np.float32)
    with _blas().limit(limits=1, user_api="blas"):
        for begin, end in groups.blocks():
            rows = groups.order_N[groups.first_R[begin] : groups.first_R[end]]
            cosine_SB, profile_TB = _block(groups, centred, begin, end, half_lives_h)
            table[rows] = np.concatenate(
                [
                    _summary(cosine_SB, top_k),
                    profile_TB,
                    _tiers(cosine_SB, centred.centring.edges, num_tiers),
                ]
            ).T
    return table


@cache
def _blas() -> ThreadpoolController:
    """Look for the libraries once: it takes as long as the products of a request."""
    return ThreadpoolController()


def _vector_histories(
    histories: pl.DataFrame, centred: CentredEmbeddings
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    flat = histories.with_row_index("row").explode("items", "ages_h", empty_as_null=False)
    row_E = centred.rows_of(flat["items"])
    has_E = row_E >= 0
    request_E = flat["row"].to_numpy()[has_E]
    cuts = np.searchsorted(request_E, np.arange(1, len(histories)))
    rows = np.split(row_E[has_E], cuts)
    ages_h = np.split(flat["ages_h"].cast(pl.Float32).to_numpy()[has_E], cuts)
    return tuple(rows), tuple(ages_h)


def _block(
    groups: Groups, centred: CentredEmbeddings, begin: int, end: int, half_lives_h: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return [S, B] cosines, newest first, NaN beyond the history, and [T, B] with the profiles.

    A slot's cosines lie side by side, so that what is summed up over slots runs over whole rows.
    """
    start, slots = groups.first_R[begin], groups.slots
    num_rows = groups.first_R[end] - start
    cosine_SB = np.full((slots, num_rows), np.nan, dtype=np.float32)
    profile_TB = np.full((len(half_lives_h), num_rows), np.nan, dtype=np.float32)
    same_N = centred.same_N
    for request in range(begin, end):
        first, last = groups.first_R[request : request + 2] - start
        candidate_m = groups.candidate_N[first + start : last + start]
        history_n, age_n = groups.history[request], groups.ages_h[request]
        _compare(
            (candidate_m, history_n[:slots], age_n[:slots]),
            centred,
            half_lives_h,
            out=(cosine_SB[:, first:last], profile_TB[:, first:last]),
        )
        own_m, past_n = same_N[candidate_m], same_N[history_n]
        is_past_m = (own_m[:, None] == past_n).any(axis=1) & (candidate_m >= 0)
        for i in np.flatnonzero(is_past_m):
            kept = np.flatnonzero(past_n != own_m[i])[:slots]
            left = candidate_m[i : i + 1], history_n[kept], age_n[kept]
            own = slice(first + i, first + i + 1)
            _compare(left, centred, half_lives_h, out=(cosine_SB[:, own], profile_TB[:, own]))
    return cosine_SB, profile_TB


def _compare(
    request: tuple[np.ndarray, np.ndarray, np.ndarray],
    centred: CentredEmbeddings,
    half_lives_h: Sequence[float],
    *,
    out: tuple[np.ndarray, np.ndarray],
) -> None:
    """Write [S, m] cosines with each history item and [T, m] with each profile of the history.

    Args:
        request: [m] candidates, [n] history items and [n] their ages.
        centred: their vectors.
        half_lives_h: of the profiles.
        out: what to write to.
    """
    candidate_m, history_n, age_n = request
    cosine_Sm, profile_Tm = out
    cosine_Sm[:], profile_Tm[:] = np.nan, np.nan
    num_items = len(history_n)
    if not num_items or not len(candidate_m):
        return
    history_nD = centred.vectors_ND[history_n]
    profile_TD = _profiles(history_nD, _weights(age_n, half_lives_h))
    product = np.vstack([history_nD, profile_TD]) @ centred.vectors_ND[candidate_m].T
    product[:, candidate_m < 0] = np.nan  # row -1 is the last item, not this candidate
    cosine_Sm[:num_items] = product[:num_items]
    profile_Tm[:] = product[num_items:]


def _profiles(history_nD: np.ndarray, weight_Tn: np.ndarray) -> np.ndarray:
    """Return [T, D] normalised weighted sums; NaN where the history cancels."""
    profile_TD = weight_Tn @ history_nD
    norm_T1 = np.linalg.norm(profile_TD, axis=1, keepdims=True)
    is_noise_T1 = norm_T1 <= CANCELLED * weight_Tn.sum(axis=1, keepdims=True)
    return profile_TD / np.where(is_noise_T1, np.nan, norm_T1)


def _weights(age_n: np.ndarray, half_lives_h: Sequence[float]) -> np.ndarray:
    """Return [T, n] weights, 1 for the newest item: ages from "now" may all underflow."""
    half_life_T1 = np.asarray(half_lives_h, dtype=np.float32)[:, None]
    return np.exp2(-(age_n - age_n.min()) / half_life_T1, dtype=np.float32)


def _summary(cosine_SB: np.ndarray, top_k: Sequence[int]) -> np.ndarray:
    """Return [4 + len(top_k), B] max, mean, top-k means, newest, max of the newest five."""
    is_none_SB = np.isnan(cosine_SB)
    num_B = len(cosine_SB) - np.count_nonzero(is_none_SB, axis=0)
    filled_SB = np.where(is_none_SB, BELOW, cosine_SB)
    total_B = np.where(is_none_SB, np.float32(0), cosine_SB).sum(axis=0)
    best_KB = _best(filled_SB, min(max(top_k, default=1), len(cosine_SB)))
    rows = [best_KB[0], total_B / np.maximum(num_B, 1)]
    known_KB = np.where(best_KB == BELOW, np.float32(0), best_KB)
    rows += [known_KB[:k].sum(axis=0) / np.clip(num_B, 1, k) for k in top_k]
    rows += [cosine_SB[0], filled_SB[:5].max(axis=0)]
    table = np.stack(rows)
    table[:, num_B == 0] = np.nan
    return table


def _best(filled_SB: np.ndarray, num_best: int) -> np.ndarray:
    """Return [K, B] the largest values of each column, largest first.

    Each value is let down the ladder of the largest so far, all columns at once: several times as
    fast as sorting or partitioning fifty values at a time.
    """
    best_KB = np.full((num_best, filled_SB.shape[1]), BELOW, dtype=np.float32)
    falling_B, lesser_B = np.empty_like(best_KB[0]), np.empty_like(best_KB[0])
    for slot, value_B in enumerate(filled_SB):
        falling_B[:] = value_B
        for step_B in best_KB[: slot + 1]:
            np.minimum(step_B, falling_B, out=lesser_B)
            np.maximum(step_B, falling_B, out=step_B)
            falling_B, lesser_B = lesser_B, falling_B
    return best_KB


def _tiers(cosine_SB: np.ndarray, edges: Sequence[float], num_tiers: int) -> np.ndarray:
    """Return [2 * num_tiers, B] share of the history in each tier, then log1p of the count.

    A cosine that equals an edge falls in the tier above it. Tiers are told apart by how many
    cosines reach each edge, which takes a fraction of a search for each cosine.
    """
    reached = [np.count_nonzero(~np.isnan(cosine_SB), axis=0)]
    reached += [np.count_nonzero(cosine_SB >= np.float32(edge), axis=0) for edge in edges]
    reached += [np.zeros_like(reached[0])] * (num_tiers - len(edges))
    count_KB = -np.diff(np.stack(reached).astype(np.float32), axis=0)
    count_KB[:, reached[0] == 0] = np.nan
    return np.concatenate([count_KB / np.maximum(reached[0], 1), np.log1p(count_KB)])
