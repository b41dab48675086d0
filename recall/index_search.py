"""The items nearest to a query, as Milvus finds them: in the graph, in crowds, or one by one.

Shape legend: Q = queries, N = items of a page, D = embedding dimension.
"""

import heapq
from contextlib import AbstractContextManager
from functools import cache

import numpy as np
import polars as pl

from evaluation.exact_ranking import SCORE_DECIMALS
from recall.client import within
from recall.collection import MAX_LIMIT
from recall.crowds import with_crowds
from recall.filters import Filter
from recall.held_rows import HeldRows
from recall.placement import GRAPH_PARTITION
from recall.vector_search import NO_FILTER, RANKED, check_queries

TIE_ROOM = 16  # rows fetched beyond the limit, so that a tie at its edge is settled by id
Scores = list[tuple[str, float]]  # item_id and cosine


class IndexSearch(HeldRows):
    """Searches every model version's collection; see `recall.vector_search.VectorSearch`."""

    def request(self) -> AbstractContextManager[None]:
        """Let all that a block asks end within the search timeout, together."""
        return within(self.config.search_timeout_s)

    def refresh(self) -> bool:
        """Return that there is nothing to do: Milvus itself takes in what is written to it."""
        return False

    def kind_of(self, version: str) -> str:
        """Return what is searched of a version, as an answer names it."""
        return f"milvus_{self.index_kind(version).lower()}"

    @property
    def consistency(self) -> str:
        """How far behind its writers a search may be."""
        return "strong" if self.config.is_lite else "bounded"

    def search(
        self,
        query_vectors_QD: np.ndarray,
        version: str,
        *,
        limit: int,
        filter: Filter = NO_FILTER,
    ) -> pl.DataFrame:
        """Find the items nearest to each query; see `recall.vector_search.VectorSearch`.

        An approximate index under a selective filter may find too few, and such a query is answered
        from all that match: nobody has to count them, and where they are few it is one call.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"limit must be in [1, {MAX_LIMIT}], got {limit}")
        check_queries(query_vectors_QD, version, dim=self.dim(version))
        expression = self.expression(filter, version)
        found = self._approximate(query_vectors_QD, version, limit=limit, expression=expression)
        self._add_crowds(found, query_vectors_QD, version, limit=limit, expression=expression)
        short = [q for q, scores in enumerate(found) if len(scores) < limit]
        if short:
            exact = self._exact(
                query_vectors_QD[short], version, limit=limit, expression=expression
            )
            for q, scores in zip(short, exact, strict=True):
                found[q] = scores
        return _ranked(found, limit=limit)

    def _approximate(
        self, query_vectors_QD: np.ndarray, version: str, *, limit: int, expression: str
    ) -> list[Scores]:
        depth = min(limit + TIE_ROOM, MAX_LIMIT)
        reply = self._client.search(
            self._collection(version),
            data=list(query_vectors_QD.astype(np.float32)),
            anns_field="vector",
            filter=expression,
            limit=depth,
            partition_names=[GRAPH_PARTITION],
            output_fields=["item_id"],  # without it Milvus Lite sends the vectors along
            search_params={
                "metric_type": "COSINE",
                "params": self.config.parameters.searching(self.index_kind(version), depth=depth),
            },
        )
        return [[(row["item_id"], row["distance"]) for row in rows] for rows in reply]

    def _add_crowds(
        self,
        found: list[Scores],
        query_vectors_QD: np.ndarray,
        version: str,
        *,
        limit: int,
        expression: str,
    ) -> None:
        """Add what lies in no graph to what was found, but where too little was."""
        name = self._collection(version)
        leads = self._crowds.leads(name)
        if leads is None:
            return

        @cache
        def members_of(key: int) -> list[str]:
            return self._crowds.members(name, key, expression=expression, limit=limit)

        unit_QD = query_vectors_QD / np.linalg.norm(query_vectors_QD, axis=1, keepdims=True)
        for q, scores in enumerate(found):
            if len(scores) >= limit:
                found[q] = with_crowds(scores, unit_QD[q], leads, members_of, limit=limit)

    def _exact(
        self, query_vectors_QD: np.ndarray, version: str, *, limit: int, expression: str
    ) -> list[Scores]:
        best: list[Scores] = [[] for _ in query_vectors_QD]
        query_QD = _unit(query_vectors_QD)
        columns = ("item_id", "vector")
        pages = self._pages(version, expression=expression, columns=columns, is_strong=False)
        for page in pages:
            page_ND = _unit(np.asarray([row["vector"] for row in page], dtype=np.float32))
            for q, query_D in enumerate(query_QD):
                # A row's sum is its own: a product of matrices might add as N and Q tell it to.
                score_N = np.einsum("nd,d->n", page_ND, query_D)
                best[q] += [(r["item_id"], float(s)) for r, s in zip(page, score_N, strict=True)]
                best[q] = heapq.nsmallest(limit, best[q], key=_best_first)
        return best


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    wide_ND = vectors_ND.astype(np.float64)
    return wide_ND / np.linalg.norm(wide_ND, axis=1, keepdims=True)


def _best_first(scored: tuple[str, float]) -> tuple[float, str]:
    item_id, score = scored
    return -round(score, SCORE_DECIMALS), item_id


def _ranked(found: list[Scores], *, limit: int) -> pl.DataFrame:
    rows = [
        (q, item_id, round(score, SCORE_DECIMALS), rank)
        for q, scores in enumerate(found)
        for rank, (item_id, score) in enumerate(sorted(scores, key=_best_first)[:limit], start=1)
    ]
    return pl.DataFrame(rows, schema=RANKED, orient="row")
