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
from collections.abc import Callable, Iterator, Sequence
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

CANCELLED = 1e-5
"""A profile shorter than this share of its weights is rounding noise: the history cancels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profiles:
    """Which sums of a history a candidate is compared with, and what else is found of it."""

    half_lives_h: tuple[float, ...] = ()
    """An item of this age weighs half in the profile, for each profile; infinite: all weigh the
    same."""

    with_strong: bool = False
    """One more of what was liked strongly alone, all weighing the same."""

    with_details: bool = False
    """Whether ages, strength and categories are wanted."""

    with_others: bool = False
    """Whether the other candidates are wanted."""

    @property
    def num(self) -> int:
        """T, how many profiles there are."""
        return len(self.half_lives_h) + self.with_strong

    def weights(self, age_RS: np.ndarray, is_strong_RS: np.ndarray) -> np.ndarray:
        """Return [R, T, S] weights, 1 for the newest item: ages from "now" may all underflow.

        0 beyond the history, where the age is infinite.
        """
        half_life_T1 = np.asarray(self.half_lives_h, dtype=np.float32)[:, None]
        is_there_RS = np.isfinite(age_RS)
        newest_R1 = np.where(is_there_RS, age_RS, np.inf).min(axis=1, keepdims=True)
        since_RS = np.where(is_there_RS, age_RS - np.where(np.isfinite(newest_R1), newest_R1, 0), 0)
        weight_RTS = np.exp2(-since_RS[:, None, :] / half_life_T1, dtype=np.float32)
        weight_RTS *= is_there_RS[:, None, :]
        if not self.with_strong:
            return weight_RTS
        strong_R1S = (is_strong_RS & is_there_RS)[:, None, :].astype(np.float32)
        return np.concatenate([weight_RTS, strong_R1S], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Candidates and histories as rows of the embeddings, request by request."""

    order_N: np.ndarray
    """Impressions sorted by request; within one, as they came."""

    candidate_N: np.ndarray
    """Row in the embeddings of each candidate, in `order_N`; -1: no vector."""

    first_R: np.ndarray
    """[R + 1] where each request starts in `order_N`."""

    history_E: np.ndarray
    """Rows in the embeddings of the histories, one after another, newest first."""

    first_E: np.ndarray
    """[R + 1] where each history starts."""

    age_E: np.ndarray
    """Hours, float32."""

    is_strong_E: np.ndarray
    """Whether each was liked strongly."""

    category_E: np.ndarray
    """Number of the category it had then; -1: none."""

    category_N: np.ndarray
    """Number of the category of each candidate, in `order_N`; -1: none."""

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
        category_N: np.ndarray,
        category_P: np.ndarray,
    ) -> "Groups":
        """Group candidates by request, and drop what has no vector from their histories.

        Args:
            candidate_N: rows in the embeddings; -1: no vector.
            request_N: number of the request of each candidate, a row of `past`.
            past: the histories.
            row_P: rows in the embeddings of their items; -1: no vector.
            centred: the embeddings.
            slots: items compared.
            category_N: number of the category of each candidate; -1: none.
            category_P: the same of the items of the histories.
        """
        order_N = np.argsort(request_N, kind="stable")
        first_R = np.searchsorted(request_N[order_N], np.arange(len(past.first_R)))
        has_P = row_P >= 0
        request_E, row_E = past.request_P[has_P], row_P[has_P]
        first_E = np.searchsorted(request_E, np.arange(len(past.first_R)))
        candidate_N = candidate_N[order_N]
        return cls(
            order_N,
            candidate_N,
            first_R,
            row_E,
            first_E,
            past.ages_h[has_P],
            past.is_strong_P[has_P],
            category_P[has_P],
            category_N[order_N],
            _is_past(candidate_N, request_N[order_N], row_E, request_E, centred),
            slots,
        )

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of requests, each of about `BLOCK_ROWS` impressions."""
        begin = 0
        while begin < len(self.first_R) - 1:
            limit = self.first_R[begin] + BLOCK_ROWS
            end = max(begin + 1, int(np.searchsorted(self.first_R, limit, side="right")) - 1)
            yield begin, end
            begin = end


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

    mean_B: np.ndarray
    """Mean cosine with the other candidates; NaN where there is none."""


def in_blocks(
    groups: Sequence[Groups],
    centred: CentredEmbeddings,
    profiles: Sequence[Profiles],
    summed_up: Callable[[Sequence[Compared]], np.ndarray],
    *,
    num_columns: int,
) -> np.ndarray:
    """Compare every impression, block by block, and sum up what was found.

    Args:
        groups: the same candidates with one or several kinds of history.
        centred: the embeddings.
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
        table_CN[:, _as_slice(rows)] = summed_up(_block(kinds, centred, begin, end))

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
    kinds: Sequence[tuple[Groups, Profiles]], centred: CentredEmbeddings, begin: int, end: int
) -> list[Compared]:
    """Compare the candidates of a range of requests with each kind of history.

    A slot's cosines lie side by side, so that what is summed up over slots runs over whole rows.
    The product of a request is that of its candidates with its profiles and its history in one.
    """
    groups, with_others = kinds[0][0], any(profiles.with_others for _, profiles in kinds)
    first_R = groups.first_R[begin : end + 1] - groups.first_R[begin]
    candidate_B = groups.candidate_N[groups.first_R[begin] : groups.first_R[end]]
    pasts = [_pasts(kind, centred, begin, end, profiles) for kind, profiles in kinds]
    products = [np.full((each.num_rows, len(candidate_B)), np.nan, np.float32) for each in pasts]
    mean_B = np.full(len(candidate_B), np.nan, dtype=np.float32)
    most = int(np.diff(first_R).max())
    vectors = np.empty((most, centred.vectors_ND.shape[1]), dtype=np.float32)
    is_all_known = bool((candidate_B >= 0).all())
    for number, (first, last) in enumerate(itertools.pairwise(first_R.tolist())):
        if first == last:
            continue
        candidate_mD, row_m = vectors[: last - first], candidate_B[first:last]
        # Row -1, of no vector, is clipped to the first; what comes of it is taken out below.
        centred.vectors_ND.take(row_m, axis=0, out=candidate_mD, mode="clip")
        for past, product in zip(pasts, products, strict=True):
            if rows := past.rows_of(number):
                np.matmul(
                    past.rows_RKD[number, :rows], candidate_mD.T, out=product[:rows, first:last]
                )
        if with_others:
            if not is_all_known:
                candidate_mD[row_m < 0] = 0
            mean_B[first:last] = _mean_with_others(candidate_mD, row_m, centred)
    found = []
    for (kind, profiles), past, product in zip(kinds, pasts, products, strict=True):
        compared = _compared(kind, profiles, past, product, candidate_B, mean_B, begin, end)
        _compare_repeats(kind, centred, begin, end, profiles, out=compared)
        found.append(compared)
    return found


def _compared(
    groups: Groups,
    profiles: Profiles,
    past: "_Pasts",
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
        return Compared(cosine_SB, profile_TB, _NONE, _NONE, _NONE, mean_B)
    category_B = groups.category_N[groups.first_R[begin] : groups.first_R[end]]
    # No category is -1 of a candidate, and -2 of what it is compared with.
    return Compared(
        cosine_SB,
        profile_TB,
        np.repeat(past.age_RS.T, sizes, axis=1),
        np.repeat(past.is_strong_RS.T, sizes, axis=1),
        np.repeat(past.category_RS.T, sizes, axis=1) == category_B,
        mean_B,
    )


_NONE = np.empty((0, 0), dtype=np.float32)


def _mean_with_others(
    candidate_mD: np.ndarray, row_m: np.ndarray, centred: CentredEmbeddings
) -> np.ndarray:
    """Return [m] mean cosine of each candidate with the others that have a vector.

    Args:
        candidate_mD: vectors; zeros for none.
        row_m: rows in the embeddings; -1: no vector.
        centred: the embeddings.
    """
    num_known = int(np.count_nonzero(row_m >= 0))
    if num_known < 2:
        return np.full(len(row_m), np.nan, dtype=np.float32)
    sum_D = np.ones(len(row_m), dtype=np.float32) @ candidate_mD
    mean_m = (candidate_mD @ sum_D - centred.square_N[row_m]) / np.float32(num_known - 1)
    return np.where(row_m >= 0, mean_m, np.float32(np.nan))


@dataclass(frozen=True, slots=True, eq=False)
class _Pasts:
    """What the candidates of each request of a block are compared with."""

    rows_RKD: np.ndarray
    """[R, T + S, D] the profiles, not normalised, then the history, newest first, with whatever
    beyond it."""

    size_R: np.ndarray
    norm_RT: np.ndarray
    """Lengths of the profiles; NaN where a history cancels."""

    age_RS: np.ndarray
    is_strong_RS: np.ndarray
    category_RS: np.ndarray
    """-2 for none."""

    @property
    def num_rows(self) -> int:
        """T + S."""
        return self.rows_RKD.shape[1]

    def rows_of(self, number: int) -> int:
        """Return how many rows of a request there are to compare with; 0 of no history."""
        size = int(self.size_R[number])
        return self.num_rows - self.age_RS.shape[1] + size if size else 0


def _pasts(
    groups: Groups, centred: CentredEmbeddings, begin: int, end: int, profiles: Profiles
) -> _Pasts:
    slots, num_profiles = groups.slots, profiles.num
    first_R = groups.first_E[begin:end]
    size_R = np.minimum(groups.first_E[begin + 1 : end + 1] - first_R, slots)
    is_there_RS = np.arange(slots) < size_R[:, None]
    event_M = (first_R[:, None] + np.arange(slots))[is_there_RS]

    def laid_out(flat_E: np.ndarray, none: float, dtype: type) -> np.ndarray:
        laid_RS: np.ndarray = np.full((end - begin, slots), none, dtype=dtype)
        laid_RS[is_there_RS] = flat_E[event_M]
        return laid_RS

    age_RS = laid_out(groups.age_E, np.inf, np.float32)
    is_strong_RS = laid_out(groups.is_strong_E, False, np.bool_)
    category_RS = laid_out(groups.category_E, -1, np.int32)
    category_RS[category_RS < 0] = -2
    row_RK = np.zeros((end - begin, num_profiles + slots), dtype=np.int64)
    row_RK[:, num_profiles:] = laid_out(groups.history_E, 0, np.int64)
    rows_RKD = centred.vectors_ND.take(row_RK, axis=0)
    weight_RTS = profiles.weights(age_RS, is_strong_RS)
    rows_RKD[:, :num_profiles] = weight_RTS @ rows_RKD[:, num_profiles:]
    norm_RT = _norms(rows_RKD[:, :num_profiles], weight_RTS)
    return _Pasts(rows_RKD, size_R, norm_RT, age_RS, is_strong_RS, category_RS)


def _norms(profile_RTD: np.ndarray, weight_RTS: np.ndarray) -> np.ndarray:
    """Return [R, T] lengths of the profiles; NaN where the history cancels."""
    norm_RT = np.linalg.norm(profile_RTD, axis=2)
    norm_RT[norm_RT <= CANCELLED * weight_RTS.sum(axis=2)] = np.nan
    return norm_RT


def _compare_repeats(
    groups: Groups,
    centred: CentredEmbeddings,
    begin: int,
    end: int,
    profiles: Profiles,
    *,
    out: Compared,
) -> None:
    """Compare candidates that are in their history again, with what is left without them."""
    start, same_N = groups.first_R[begin], centred.same_N
    for row in np.flatnonzero(groups.is_past_N[start : groups.first_R[end]]):
        candidate = groups.candidate_N[start + row]
        request = int(np.searchsorted(groups.first_R, start + row, side="right")) - 1
        own = slice(groups.first_E[request], groups.first_E[request + 1])
        history_n = groups.history_E[own]
        kept = np.flatnonzero(same_N[history_n] != same_N[candidate])[: groups.slots]
        out.cosine_SB[:, row], out.profile_TB[:, row] = np.nan, np.nan
        age_n, is_strong_n = groups.age_E[own][kept], groups.is_strong_E[own][kept]
        if len(kept):
            vector_D, history_nD = (
                centred.vectors_ND[candidate],
                centred.vectors_ND[history_n[kept]],
            )
            weight_Tn = profiles.weights(age_n[None], is_strong_n[None])[0]
            profile_TD = weight_Tn @ history_nD
            norm_T = _norms(profile_TD[None], weight_Tn[None])[0]
            out.cosine_SB[: len(kept), row] = history_nD @ vector_D
            out.profile_TB[:, row] = profile_TD @ vector_D / norm_T
        if profiles.with_details:
            category = groups.category_N[start + row]
            is_category_n = (groups.category_E[own][kept] == category) & (category >= 0)
            for matrix_SB, value_n, none in (
                (out.age_SB, age_n, np.inf),
                (out.is_strong_SB, is_strong_n, False),
                (out.is_category_SB, is_category_n, False),
            ):
                matrix_SB[:, row] = none
                matrix_SB[: len(kept), row] = value_n
