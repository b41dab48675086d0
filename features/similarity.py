"""Cosines of candidates with histories, request by request, and what sums them up.

Each product is taken in the shape of its own request and each statistic over the same number of
slots. That makes a row equal to the last bit whichever other requests are computed with it; with
other candidates of its own request, or in another order, it is equal to 1e-5. A product is too
small for several threads: two of BLAS wait for each other more than they work, so one is used, and
blocks of requests are shared out instead.

Legend: N = impressions, R = requests, B = impressions of one block, m = candidates of a request,
n = history items of a request that have a vector, P = items of all histories, E = those that have a
vector, S = slots, T = half-lives, K = largest kept or tiers, D = dimension.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from features.centred_embeddings import CentredEmbeddings
from features.histories import Pasts

BLOCK_ROWS = 8_192
"""Impressions whose cosines are held at once: 1.6 MB at 50 slots, so they stay in the cache."""

MAX_THREADS = 8
"""Blocks that are made at once, where there are so many processors; a live request is one block."""

FEW_COLUMNS = 1_024
"""Of so few impressions, such as a live request's, the largest cosines are found by sorting."""

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

    is_past_N: np.ndarray
    """Whether each candidate, in `order_N`, or an exact duplicate of it, is in its history."""

    slots: int
    """S, the most items that are compared. A history may have more: the candidate and its exact
    duplicates are left out before they are counted."""

    @classmethod
    def of(
        cls,
        candidate_N: np.ndarray,
        request_N: np.ndarray,
        past: Pasts,
        row_P: np.ndarray,
        centred: CentredEmbeddings,
        *,
        slots: int,
    ) -> "Groups":
        """Group candidates by request, and drop what has no vector from their histories.

        Args:
            candidate_N: rows in the embeddings; -1: no vector.
            request_N: number of the request of each candidate, a row of `past`.
            past: the histories.
            row_P: rows in the embeddings of their items; -1: no vector.
            centred: the embeddings.
            slots: items compared.
        """
        order_N = np.argsort(request_N, kind="stable")
        first_R = np.searchsorted(request_N[order_N], np.arange(len(past.first_R)))
        has_P = row_P >= 0
        request_E, row_E = past.request_P[has_P], row_P[has_P]
        cuts = np.searchsorted(request_E, np.arange(1, len(past.first_R) - 1))
        candidate_N = candidate_N[order_N]
        return cls(
            order_N,
            candidate_N,
            first_R,
            tuple(np.split(row_E, cuts)),
            tuple(np.split(past.ages_h[has_P], cuts)),
            _is_past(candidate_N, request_N[order_N], row_E, request_E, centred),
            slots,
        )

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
    table_CN = np.empty((num_columns, len(groups.order_N)), dtype=np.float32)

    def fill(block: tuple[int, int]) -> None:
        begin, end = block
        rows = groups.order_N[groups.first_R[begin] : groups.first_R[end]]
        cosine_SB, profile_TB = _block(groups, centred, begin, end, half_lives_h)
        tier_KB = _tiers(cosine_SB, centred.centring.edges, num_tiers)
        parts = (_summary(cosine_SB, top_k), profile_TB, tier_KB)
        table_CN[:, _as_slice(rows)] = np.concatenate(parts)

    blocks = list(groups.blocks())
    threads = min(len(blocks), os.cpu_count() or 1, MAX_THREADS)
    with _blas().limit(limits=1, user_api="blas"):
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, blocks))
        else:
            for block in blocks:
                fill(block)
    return table_CN.T


def _as_slice(rows: np.ndarray) -> np.ndarray | slice:
    """Return rows that follow one another as a slice, which is faster to write to."""
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(rows[0], rows[0] + len(rows))
    return rows


@cache
def _blas() -> ThreadpoolController:
    """Look for the libraries once: it takes as long as the products of a request."""
    return ThreadpoolController()


def _is_past(
    candidate_N: np.ndarray,
    request_N: np.ndarray,
    row_E: np.ndarray,
    request_E: np.ndarray,
    centred: CentredEmbeddings,
) -> np.ndarray:
    """Return [N] whether each candidate, or an exact duplicate, is in its request's history."""
    same_N, num_same = centred.same_N, len(centred.same_N)
    asked_N = request_N * num_same + same_N[candidate_N]
    past_E = request_E * num_same + same_N[row_E]
    return np.isin(asked_N, past_E) & (candidate_N >= 0)


def _block(
    groups: Groups, centred: CentredEmbeddings, begin: int, end: int, half_lives_h: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return [S, B] cosines, newest first, NaN beyond the history, and [T, B] with the profiles.

    A slot's cosines lie side by side, so that what is summed up over slots runs over whole rows.
    The product of a request is that of its candidates with its profiles and its history in one.
    """
    num_profiles = len(half_lives_h)
    first_R = groups.first_R[begin : end + 1] - groups.first_R[begin]
    past, size_R, norm_RT = _pasts(groups, centred, begin, end, half_lives_h)
    product = np.full((num_profiles + groups.slots, first_R[-1]), np.nan, dtype=np.float32)
    candidate_B = groups.candidate_N[groups.first_R[begin] : groups.first_R[end]]
    most = int(np.diff(first_R).max())
    vectors = np.empty((most, centred.vectors_ND.shape[1]), dtype=np.float32)
    for number, (first, last) in enumerate(itertools.pairwise(first_R.tolist())):
        size = int(size_R[number])
        if not size or first == last:
            continue
        candidate_mD = vectors[: last - first]
        # Row -1, of no vector, is clipped to the first; what comes of it is taken out below.
        centred.vectors_ND.take(candidate_B[first:last], axis=0, out=candidate_mD, mode="clip")
        rows = slice(num_profiles + size)
        np.matmul(past[number, rows], candidate_mD.T, out=product[rows, first:last])
    product[:num_profiles] /= np.repeat(norm_RT, np.diff(first_R), axis=0).T
    product[:, candidate_B < 0] = np.nan
    profile_TB, cosine_SB = product[:num_profiles], product[num_profiles:]
    _compare_repeats(groups, centred, begin, end, half_lives_h, out=(cosine_SB, profile_TB))
    return cosine_SB, profile_TB


def _pasts(
    groups: Groups, centred: CentredEmbeddings, begin: int, end: int, half_lives_h: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the candidates of each request are compared with.

    Returns:
        [R, T + S, D] the profiles, not normalised, then the history, newest first, with whatever
        beyond it; [R] sizes of the histories; [R, T] norms of the profiles, NaN where a history
        cancels.
    """
    slots, num_profiles = groups.slots, len(half_lives_h)
    size_R = np.array([min(len(rows), slots) for rows in groups.history[begin:end]])
    row_R = np.zeros((end - begin, num_profiles + slots), dtype=np.int64)
    row_RS = row_R[:, num_profiles:]
    age_RS = np.full((end - begin, slots), np.inf, dtype=np.float32)
    is_there_RS = np.arange(slots) < size_R[:, None]
    row_RS[is_there_RS] = np.concatenate([rows[:slots] for rows in groups.history[begin:end]])
    age_RS[is_there_RS] = np.concatenate([ages[:slots] for ages in groups.ages_h[begin:end]])
    past = centred.vectors_ND.take(row_R, axis=0)
    weight_RTS = _weights(age_RS, half_lives_h)
    past[:, :num_profiles] = weight_RTS @ past[:, num_profiles:]
    return past, size_R, _norms(past[:, :num_profiles], weight_RTS)


def _norms(profile_RTD: np.ndarray, weight_RTS: np.ndarray) -> np.ndarray:
    """Return [R, T] lengths of the profiles; NaN where the history cancels."""
    norm_RT = np.linalg.norm(profile_RTD, axis=2)
    norm_RT[norm_RT <= CANCELLED * weight_RTS.sum(axis=2)] = np.nan
    return norm_RT


def _weights(age_RS: np.ndarray, half_lives_h: Sequence[float]) -> np.ndarray:
    """Return [R, T, S] weights, 1 for the newest item: ages from "now" may all underflow.

    0 beyond the history, where the age is infinite.
    """
    half_life_T1 = np.asarray(half_lives_h, dtype=np.float32)[:, None]
    newest_R1 = age_RS.min(axis=1, keepdims=True)
    since_RS = age_RS - np.where(np.isfinite(newest_R1), newest_R1, 0)
    return np.exp2(-since_RS[:, None, :] / half_life_T1, dtype=np.float32)


def _compare_repeats(
    groups: Groups,
    centred: CentredEmbeddings,
    begin: int,
    end: int,
    half_lives_h: Sequence[float],
    *,
    out: tuple[np.ndarray, np.ndarray],
) -> None:
    """Compare candidates that are in their history again, with what is left without them."""
    cosine_SB, profile_TB = out
    start, same_N = groups.first_R[begin], centred.same_N
    for row in np.flatnonzero(groups.is_past_N[start : groups.first_R[end]]):
        candidate = groups.candidate_N[start + row]
        request = int(np.searchsorted(groups.first_R, start + row, side="right")) - 1
        history_n = groups.history[request]
        kept = np.flatnonzero(same_N[history_n] != same_N[candidate])[: groups.slots]
        cosine_SB[:, row], profile_TB[:, row] = np.nan, np.nan
        if len(kept):
            vector_D, history_nD = (
                centred.vectors_ND[candidate],
                centred.vectors_ND[history_n[kept]],
            )
            weight_Tn = _weights(groups.ages_h[request][None, kept], half_lives_h)[0]
            profile_TD = weight_Tn @ history_nD
            norm_T = _norms(profile_TD[None], weight_Tn[None])[0]
            cosine_SB[: len(kept), row] = history_nD @ vector_D
            profile_TB[:, row] = profile_TD @ vector_D / norm_T


def _summary(cosine_SB: np.ndarray, top_k: Sequence[int]) -> np.ndarray:
    """Return [4 + len(top_k), B] max, mean, top-k means, newest, max of the newest five."""
    is_none_SB = np.isnan(cosine_SB)
    num_B = len(cosine_SB) - _count(is_none_SB)
    filled_SB, known_SB = cosine_SB, cosine_SB
    if num_B.min(initial=len(cosine_SB)) < len(cosine_SB):
        filled_SB = np.fmax(cosine_SB, BELOW)
        known_SB = np.where(is_none_SB, np.float32(0), cosine_SB)
    best_KB = _best(filled_SB, min(max(top_k, default=1), len(cosine_SB)))
    rows = [best_KB[0], known_SB.sum(axis=0) / np.maximum(num_B, 1)]
    known_KB = np.where(best_KB == BELOW, np.float32(0), best_KB)
    rows += [known_KB[:k].sum(axis=0) / np.clip(num_B, 1, k) for k in top_k]
    rows += [cosine_SB[0], filled_SB[:5].max(axis=0)]
    table = np.stack(rows)
    table[:, num_B == 0] = np.nan
    return table


def _count(is_SB: np.ndarray) -> np.ndarray:
    """Return [B] how often each column is true, int64; in bytes, while those can hold it."""
    dtype = np.uint8 if len(is_SB) < 256 else np.int64
    return np.add.reduce(is_SB.view(np.uint8), axis=0, dtype=dtype).astype(np.int64)


def _best(filled_SB: np.ndarray, num_best: int) -> np.ndarray:
    """Return [K, B] the largest values of each column, largest first.

    Each value is let down the ladder of the largest so far, all columns at once: several times as
    fast as sorting or partitioning fifty values at a time, unless the columns are few.
    """
    if filled_SB.shape[1] <= FEW_COLUMNS:
        return np.sort(filled_SB.T, axis=1).T[::-1][:num_best]
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
    if not num_tiers:
        return np.empty((0, cosine_SB.shape[1]), dtype=np.float32)
    reached = [len(cosine_SB) - _count(np.isnan(cosine_SB))]
    reached += [_count(cosine_SB >= np.float32(edge)) for edge in edges]
    reached += [np.zeros_like(reached[0])] * (num_tiers - len(edges))
    count_KB = -np.diff(np.stack(reached).astype(np.float32), axis=0)
    count_KB[:, reached[0] == 0] = np.nan
    return np.concatenate([count_KB / np.maximum(reached[0], 1), np.log1p(count_KB)])
