"""Candidates and histories as rows of the embeddings, request by request.

Legend: N = impressions, R = requests, P = items of all histories, E = those that have a vector,
S = slots.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from features.histories import Pasts

BLOCK_ROWS = 8_192
"""Impressions whose cosines are held at once: 1.6 MB at 50 slots, so they stay in the cache."""


class Vectors(Protocol):
    """What candidates and histories are rows of: the embedder's vectors, or a behaviour space's."""

    @property
    def vectors_ND(self) -> np.ndarray:
        """[N, D] float32, L2-normalised."""
        ...

    @property
    def same_N(self) -> np.ndarray:
        """[N] a number that exact duplicates share."""
        ...

    @property
    def square_N(self) -> np.ndarray:
        """[N] float32 cosine of each with itself."""
        ...


class Repeat(NamedTuple):
    """A candidate that its request's history has already, itself or an exact duplicate of it."""

    row: int
    """In the range of requests that was asked about."""

    candidate: int
    """Row in the embeddings."""

    events: np.ndarray
    """Places in the histories (E) of what it is compared with: the others, newest first."""


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

    cluster_E: np.ndarray
    """Number of the cluster of its vector; -1: none."""

    cluster_N: np.ndarray
    """The same of each candidate, in `order_N`."""

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
        vectors: Vectors,
        *,
        slots: int,
        category_N: np.ndarray | None = None,
        category_P: np.ndarray | None = None,
        cluster_V: np.ndarray | None = None,
    ) -> "Groups":
        """Group candidates by request, and drop what has no vector from their histories.

        Args:
            candidate_N: rows in the embeddings; -1: no vector.
            request_N: number of the request of each candidate, a row of `past`.
            past: the histories.
            row_P: rows in the embeddings of their items; -1: no vector.
            vectors: the embeddings.
            slots: items compared.
            category_N: number of the category of each candidate; -1: none. Nothing is known of
                categories when None.
            category_P: the same of the items of the histories.
            cluster_V: number of the cluster of each of `vectors`; likewise.
        """
        if category_N is None or category_P is None:
            category_N, category_P = (
                np.full(len(rows), -1, np.int32) for rows in (candidate_N, row_P)
            )
        order_N = np.argsort(request_N, kind="stable")
        first_R = np.searchsorted(request_N[order_N], np.arange(len(past.first_R)))
        has_P = row_P >= 0
        request_E, row_E = past.request_P[has_P], row_P[has_P]
        first_E = np.searchsorted(request_E, np.arange(len(past.first_R)))
        candidate_N = candidate_N[order_N]
        cluster_E, cluster_N = (np.full(len(rows), -1, np.int32) for rows in (row_E, candidate_N))
        if cluster_V is not None:
            cluster_E = cluster_V[row_E]
            cluster_N = np.where(candidate_N >= 0, cluster_V[candidate_N], -1)
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
            cluster_E,
            cluster_N,
            _is_past(candidate_N, request_N[order_N], row_E, request_E, vectors),
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

    def repeats(self, begin: int, end: int, same_N: np.ndarray) -> Iterator[Repeat]:
        """Yield the candidates of a range of requests that are in their own history.

        Args:
            begin: of the requests.
            end: behind the last one.
            same_N: a number that exact duplicates among the embeddings share.
        """
        start = self.first_R[begin]
        for row in np.flatnonzero(self.is_past_N[start : self.first_R[end]]):
            candidate = self.candidate_N[start + row]
            request = int(np.searchsorted(self.first_R, start + row, side="right")) - 1
            events = np.arange(self.first_E[request], self.first_E[request + 1])
            others = same_N[self.history_E[events]] != same_N[candidate]
            yield Repeat(int(row), int(candidate), events[others][: self.slots])


def _is_past(
    candidate_N: np.ndarray,
    request_N: np.ndarray,
    row_E: np.ndarray,
    request_E: np.ndarray,
    vectors: Vectors,
) -> np.ndarray:
    """Return [N] whether each candidate, or an exact duplicate, is in its request's history."""
    same_N, num_same = vectors.same_N, len(vectors.same_N)
    asked_N = request_N * num_same + same_N[candidate_N]
    past_E = request_E * num_same + same_N[row_E]
    return np.isin(asked_N, past_E) & (candidate_N >= 0)
