"""Cosines of candidates with histories, request by request; `similarity_sums` sums them up.

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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from features.grouped_requests import Groups, Vectors
from features.history_profiles import Profiles, profile_norms
from features.laid_out_histories import LaidOut, laid_out

MAX_THREADS = 8
"""Blocks that are made at once, where there are so many processors; a live request is one block."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The cosines of a block of candidates with their histories, and what is known of these."""

    cosine_SB: np.ndarray
    """Newest first; NaN beyond the history, and of candidates that have no vector."""

    profile_TB: np.ndarray
    """Cosines with the profiles; NaN where a history cancels."""

    age_SB: np.ndarray
    """Hours; infinite beyond the history."""

    is_strong_SB: np.ndarray
    is_category_SB: np.ndarray
    """Whether the category of the item was the one that the candidate has."""

    in_cluster_B: np.ndarray
    """How many items have a vector in the cluster of the candidate's, int64."""

    cluster_age_B: np.ndarray
    """Hours of the newest of them; NaN for none."""

    mean_B: np.ndarray
    """Mean cosine with the other candidates; NaN where there is none."""


def in_blocks(
    groups: Sequence[Groups],
    vectors: Vectors,
    profiles: Sequence[Profiles],
    summed_up: Callable[[Sequence[Compared]], np.ndarray],
    *,
    num_columns: int,
) -> np.ndarray:
    """Compare every impression, block by block, and sum up what was found.

    Args:
        groups: the same candidates with one or several kinds of history.
        vectors: the embeddings.
        profiles: of each kind.
        summed_up: from a block of each kind to its [`num_columns`, B] float32.
        num_columns: how many there are.

    Returns:
        [N, num_columns] float32, in the order in which the impressions came.
    """
    first, kinds = groups[0], list(zip(groups, profiles, strict=True))
    table_CN = np.empty((num_columns, len(first.order_N)), dtype=np.float32)

    def fill(block: tuple[int, int]) -> None:
        begin, end = block
        rows = first.order_N[first.first_R[begin] : first.first_R[end]]
        table_CN[:, _as_slice(rows)] = summed_up(_block(kinds, vectors, begin, end))

    blocks = list(first.blocks())
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


def _block(
    kinds: Sequence[tuple[Groups, Profiles]], vectors: Vectors, begin: int, end: int
) -> list[Compared]:
    """Compare the candidates of a range of requests with each kind of history.

    A slot's cosines lie side by side, so that what is summed up over slots runs over whole rows.
    The product of a request is that of its candidates with its profiles and its history in one.
    """
    groups, with_others = kinds[0][0], any(profiles.with_others for _, profiles in kinds)
    first_R = groups.first_R[begin : end + 1] - groups.first_R[begin]
    candidate_B = groups.candidate_N[groups.first_R[begin] : groups.first_R[end]]
    pasts = [laid_out(kind, vectors, begin, end, profiles) for kind, profiles in kinds]
    products = [np.full((each.num_rows, len(candidate_B)), np.nan, np.float32) for each in pasts]
    mean_B = np.full(len(candidate_B), np.nan, dtype=np.float32)
    most = int(np.diff(first_R).max())
    room_mD = np.empty((most, vectors.vectors_ND.shape[1]), dtype=np.float32)
    is_all_known = bool((candidate_B >= 0).all())
    for number, (first, last) in enumerate(itertools.pairwise(first_R.tolist())):
        if first == last:
            continue
        candidate_mD, row_m = room_mD[: last - first], candidate_B[first:last]
        # Row -1, of no vector, is clipped to the first; what comes of it is taken out below.
        vectors.vectors_ND.take(row_m, axis=0, out=candidate_mD, mode="clip")
        for past, product in zip(pasts, products, strict=True):
            if rows := past.rows_of(number):
                np.matmul(
                    past.rows_RKD[number, :rows], candidate_mD.T, out=product[:rows, first:last]
                )
        if with_others:
            if not is_all_known:
                candidate_mD[row_m < 0] = 0
            mean_B[first:last] = _mean_with_others(candidate_mD, row_m, vectors)
    found = []
    for (kind, profiles), past, product in zip(kinds, pasts, products, strict=True):
        compared = _compared(kind, profiles, past, product, candidate_B, mean_B, begin, end)
        _compare_repeats(kind, vectors, begin, end, profiles, out=compared)
        found.append(compared)
    return found


def _compared(
    groups: Groups,
    profiles: Profiles,
    past: LaidOut,
    product: np.ndarray,
    candidate_B: np.ndarray,
    mean_B: np.ndarray,
    begin: int,
    end: int,
) -> Compared:
    """Return what the products of a block say."""
    sizes = np.diff(groups.first_R[begin : end + 1])
    profile_TB, cosine_SB = product[: profiles.num], product[profiles.num :]
    profile_TB /= np.repeat(past.norm_RT, sizes, axis=0).T
    product[:, candidate_B < 0] = np.nan
    if not profiles.with_details:
        return Compared(cosine_SB, profile_TB, _NONE, _NONE, _NONE, _NONE, _NONE, mean_B)
    own = slice(groups.first_R[begin], groups.first_R[end])
    in_cluster_B, cluster_age_B = _NONE, _NONE
    if profiles.with_clusters:
        request_B = np.repeat(np.arange(len(sizes)), sizes)
        in_cluster_B, cluster_age_B = _by_cluster(past, request_B, groups.cluster_N[own])
    # No category and no cluster is -1 of a candidate, and -2 of what it is compared with.
    return Compared(
        cosine_SB,
        profile_TB,
        np.repeat(past.age_RS.T, sizes, axis=1),
        np.repeat(past.is_strong_RS.T, sizes, axis=1),
        np.repeat(past.category_RS.T, sizes, axis=1) == groups.category_N[own],
        in_cluster_B,
        cluster_age_B,
        mean_B,
    )


def _by_cluster(
    past: LaidOut, request_B: np.ndarray, cluster_B: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return [B] how much of a history is in each candidate's cluster, and the newest age there.

    Counted once for a request and looked up for its candidates.
    """
    known_RS = past.cluster_RS >= 0
    num = 1 + max(past.cluster_RS.max(initial=0), cluster_B.max(initial=0))
    request_M, _ = np.nonzero(known_RS)
    place_M = request_M * num + past.cluster_RS[known_RS]
    counts = np.bincount(place_M, minlength=len(known_RS) * num)
    ages = np.full(len(counts), np.nan, dtype=np.float32)
    ages[place_M[::-1]] = past.age_RS[known_RS][::-1]  # the newest comes first, and so stays
    asked_B = request_B * num + np.maximum(cluster_B, 0)
    is_told_B = cluster_B >= 0
    return np.where(is_told_B, counts[asked_B], 0), np.where(is_told_B, ages[asked_B], np.nan)


_NONE = np.empty((0, 0), dtype=np.float32)


def _mean_with_others(candidate_mD: np.ndarray, row_m: np.ndarray, vectors: Vectors) -> np.ndarray:
    """Return [m] mean cosine of each candidate with the others that have a vector.

    Args:
        candidate_mD: vectors; zeros for none.
        row_m: rows in the embeddings; -1: no vector.
        vectors: the embeddings.
    """
    num_known = int(np.count_nonzero(row_m >= 0))
    if num_known < 2:
        return np.full(len(row_m), np.nan, dtype=np.float32)
    sum_D = np.ones(len(row_m), dtype=np.float32) @ candidate_mD
    mean_m = (candidate_mD @ sum_D - vectors.square_N[row_m]) / np.float32(num_known - 1)
    return np.where(row_m >= 0, mean_m, np.float32(np.nan))


def _compare_repeats(
    groups: Groups,
    vectors: Vectors,
    begin: int,
    end: int,
    profiles: Profiles,
    *,
    out: Compared,
) -> None:
    """Compare candidates that are in their history again, with what is left without them."""
    start = groups.first_R[begin]
    for row, candidate, events in groups.repeats(begin, end, vectors.same_N):
        out.cosine_SB[:, row], out.profile_TB[:, row] = np.nan, np.nan
        age_n, is_strong_n = groups.age_E[events], groups.is_strong_E[events]
        if len(events):
            vector_D = vectors.vectors_ND[candidate]
            history_nD = vectors.vectors_ND[groups.history_E[events]]
            weight_Tn = profiles.weights(age_n[None], is_strong_n[None])[0]
            profile_TD = weight_Tn @ history_nD
            norm_T = profile_norms(profile_TD[None], weight_Tn[None])[0]
            out.cosine_SB[: len(events), row] = history_nD @ vector_D
            out.profile_TB[:, row] = profile_TD @ vector_D / norm_T
        if profiles.with_details:
            category = groups.category_N[start + row]
            is_category_n = (groups.category_E[events] == category) & (category >= 0)
            for matrix_SB, value_n, none in (
                (out.age_SB, age_n, np.inf),
                (out.is_strong_SB, is_strong_n, False),
                (out.is_category_SB, is_category_n, False),
            ):
                matrix_SB[:, row] = none
                matrix_SB[: len(events), row] = value_n
        if profiles.with_clusters:
            cluster = groups.cluster_N[start + row]
            ages = age_n[(groups.cluster_E[events] == cluster) & (cluster >= 0)]
            out.in_cluster_B[row] = len(ages)
            out.cluster_age_B[row] = ages[0] if len(ages) else np.nan
