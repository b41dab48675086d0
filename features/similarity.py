"""Cosines of candidates with histories, request by request, and what sums them up.

Each product is taken in the shape of its own request and each statistic over the same number of
slots. That makes a row equal to the last bit whichever other requests are computed with it; one
padded product for many requests would be a little faster and would not.

Legend: N = impressions, R = requests, B = impressions of one block, m = candidates of a request,
n = history items of a request that have a vector, S = slots, T = half-lives, D = dimension.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from features.centred_embeddings import CentredEmbeddings

BLOCK_ROWS = 65_536
"""Impressions whose cosines are held at once: 13 MB at 50 slots."""


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
    """S, the most items a history may have."""

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
        history, ages_h = _vector_histories(histories, centred, slots)
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
        nothing to compare with.
    """
    num_columns = 4 + len(top_k) + len(half_lives_h) + 2 * num_tiers
    table = np.empty((len(groups.order_N), num_columns), dtype=np.float32)
    for begin, end in groups.blocks():
        rows = groups.order_N[groups.first_R[begin] : groups.first_R[end]]
        cosine_BS, profile_BT = _block(groups, centred, begin, end, half_lives_h)
        table[rows] = np.hstack(
            [
                _summary(cosine_BS, top_k),
                profile_BT,
                _tiers(cosine_BS, centred.centring.edges, num_tiers),
            ]
        )
    return table


def _vector_histories(
    histories: pl.DataFrame, centred: CentredEmbeddings, slots: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    flat = histories.with_row_index("row").explode("items", "ages_h", empty_as_null=False)
    row_E = centred.rows_of(flat["items"])
    has_E = row_E >= 0
    request_E = flat["row"].to_numpy()[has_E]
    cuts = np.searchsorted(request_E, np.arange(1, len(histories)))
    rows = np.split(row_E[has_E], cuts)
    ages_h = np.split(flat["ages_h"].cast(pl.Float32).to_numpy()[has_E], cuts)
    return tuple(part[:slots] for part in rows), tuple(part[:slots] for part in ages_h)


def _block(
    groups: Groups, centred: CentredEmbeddings, begin: int, end: int, half_lives_h: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return [B, S] cosines, newest first, NaN beyond the history, and [B, T] with the profiles."""
    start = groups.first_R[begin]
    num_rows = groups.first_R[end] - start
    cosine_BS = np.full((num_rows, groups.slots), np.nan, dtype=np.float32)
    profile_BT = np.full((num_rows, len(half_lives_h)), np.nan, dtype=np.float32)
    for request in range(begin, end):
        first, last = groups.first_R[request : request + 2] - start
        candidate_m = groups.candidate_N[first + start : last + start]
        history_n, age_n = groups.history[request], groups.ages_h[request]
        cosine_BS[first:last], profile_BT[first:last] = _compare(
            candidate_m, history_n, age_n, centred, half_lives_h, groups.slots
        )
        for i in np.flatnonzero((candidate_m[:, None] == history_n).any(axis=1)):
            other_n = history_n != candidate_m[i]
            cosine_BS[first + i], profile_BT[first + i] = _compare(
                candidate_m[i : i + 1],
                history_n[other_n],
                age_n[other_n],
                centred,
                half_lives_h,
                groups.slots,
            )
    return cosine_BS, profile_BT


def _compare(
    candidate_m: np.ndarray,
    history_n: np.ndarray,
    age_n: np.ndarray,
    centred: CentredEmbeddings,
    half_lives_h: Sequence[float],
    slots: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return [m, S] cosines with each history item and [m, T] with each profile of the history."""
    cosine_mS = np.full((len(candidate_m), slots), np.nan, dtype=np.float32)
    profile_mT = np.full((len(candidate_m), len(half_lives_h)), np.nan, dtype=np.float32)
    if not len(history_n) or not len(candidate_m):
        return cosine_mS, profile_mT
    history_nD = centred.vectors_ND[history_n]
    weight_Tn = _weights(age_n, half_lives_h)
    profile_TD = weight_Tn @ history_nD
    profile_TD /= np.maximum(np.linalg.norm(profile_TD, axis=1, keepdims=True), 1e-12)
    candidate_mD = centred.vectors_ND[candidate_m]
    cosine_mS[:, : len(history_n)] = candidate_mD @ history_nD.T
    profile_mT[:] = candidate_mD @ profile_TD.T
    cosine_mS[candidate_m < 0] = np.nan  # row -1 is the last item, not this candidate
    profile_mT[candidate_m < 0] = np.nan
    return cosine_mS, profile_mT


def _weights(age_n: np.ndarray, half_lives_h: Sequence[float]) -> np.ndarray:
    """Return [T, n] weights, 1 for the newest item: ages from "now" may all underflow."""
    half_life_T1 = np.asarray(half_lives_h, dtype=np.float32)[:, None]
    return np.exp2(-(age_n - age_n.min()) / half_life_T1, dtype=np.float32)


def _summary(cosine_BS: np.ndarray, top_k: Sequence[int]) -> np.ndarray:
    """Return [B, 4 + len(top_k)] max, mean, top-k means, newest, max of the newest five."""
    count_B = np.isfinite(cosine_BS).sum(axis=1)
    best_BS = -np.sort(-cosine_BS, axis=1)  # NaN sorts last
    columns = [best_BS[:, 0], _mean_of_first(best_BS, count_B, best_BS.shape[1])]
    columns += [_mean_of_first(best_BS, count_B, k) for k in top_k]
    columns += [cosine_BS[:, 0], np.fmax.reduce(cosine_BS[:, :5], axis=1)]
    return np.stack(columns, axis=1)


def _mean_of_first(best_BS: np.ndarray, count_B: np.ndarray, k: int) -> np.ndarray:
    """Return [B] mean of the first k values, of the count there is when fewer; NaN of none."""
    total_B = np.nan_to_num(best_BS[:, :k]).sum(axis=1, dtype=np.float64)
    num_B = np.minimum(count_B, k)
    return np.divide(total_B, num_B, out=np.full(len(num_B), np.nan), where=num_B > 0)


def _tiers(cosine_BS: np.ndarray, edges: Sequence[float], num_tiers: int) -> np.ndarray:
    """Return [B, 2 * num_tiers] share of the history in each tier, then log1p of the count.

    A cosine that equals an edge falls in the tier above it.
    """
    tier_BS = np.searchsorted(np.asarray(edges, dtype=np.float32), cosine_BS, side="right")
    tier_BS[np.isnan(cosine_BS)] = num_tiers
    counts = [np.count_nonzero(tier_BS == tier, axis=1) for tier in range(num_tiers)]
    count_BK = np.stack(counts, axis=1).astype(np.float32)
    total_B1 = count_BK.sum(axis=1, keepdims=True)
    count_BK[total_B1[:, 0] == 0] = np.nan
    return np.hstack([count_BK / np.maximum(total_B1, 1), np.log1p(count_BK)])
