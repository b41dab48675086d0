"""What answers queries with vectors: one interface, whatever stands behind it.

`recall.index.ItemIndex` asks a Milvus, which may be approximate and far away;
`recall.exact.ExactIndex` compares with every vector of the lake, in this process.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import polars as pl

from catalog.lake.living_parts import IdRange
from recall.errors import OtherDim
from recall.filters import Filter
from recall.rows import check_vectors

NO_FILTER = Filter()

EVERY_ID = IdRange("", None)

KEYS = pl.Schema({"item_id": pl.String, "content_hash": pl.String, "row_hash": pl.String})

RANKED = pl.Schema(
    {
        "query_index": pl.UInt32,
        "item_id": pl.String,
        "recall_score": pl.Float32,
        "recall_rank": pl.UInt32,
    }
)


def check_queries(query_vectors_QD: np.ndarray, version: str, *, dim: int) -> None:
    """Refuse query vectors that cannot be compared with a version's.

    Raises:
        OtherDim: they have another D than the version's.
        ValueError: one is not finite or is zero.
    """
    if query_vectors_QD.shape[-1] != dim:
        raise OtherDim(version, dim=dim, got=query_vectors_QD.shape[-1])
    check_vectors(query_vectors_QD, dim=dim)


class VectorSearch(Protocol):
    """Searches the vectors of a model version; safe to call from several threads."""

    def kind_of(self, version: str) -> str:
        """Return what is searched of a version, as an answer names it."""

    @property
    def consistency(self) -> str:
        """How far behind its writers an answer may be: `strong` or `bounded`."""

    def request(self) -> AbstractContextManager[None]:
        """Let all that a block asks end in time, and see one state as far as there is one."""

    def refresh(self) -> bool:
        """Take in what has changed, where that does not come by itself; return whether it had."""

    def put(self, version: str, rows: pl.DataFrame) -> None:
        """Let items be found at once that were landed and embedded.

        Args:
            version: model version.
            rows: the items as the lake holds them, as `recall.rows.index_rows` takes them.

        Raises:
            NotFound: the version cannot be searched.
            Unavailable: the vectors have another D than the version's, or no good one is among
                those of exact search.
            ValueError: an item is listed twice, or a vector is no good.
        """

    def discard(self, item_ids: Sequence[str]) -> None:
        """Let items be found no more, whatever the version, that were deleted from the lake."""

    def live_version(self) -> str | None:
        """Return the version that queries are answered from; None before the first promotion."""

    def versions(self) -> list[str]:
        """Return the model versions that can be searched, sorted."""

    def count(self, version: str) -> int:
        """Count the items of a version."""

    def keys(self, version: str, ids: IdRange = EVERY_ID) -> pl.DataFrame:
        """Return item_id, content_hash and row_hash of what a version holds of a range of ids."""

    def held(self, version: str, item_ids: pl.Series) -> pl.Series:
        """Return those of the items that a version holds."""

    def vectors(
        self, item_ids: Sequence[str], version: str, *, filter: Filter = NO_FILTER
    ) -> dict[str, np.ndarray]:
        """Return the [D] float32 vectors of those items that the version holds and that match.

        Args:
            item_ids: in any number.
            version: model version.
            filter: what an item must meet.

        Raises:
            NotFound: the version cannot be searched.
        """

    def search(
        self,
        query_vectors_QD: np.ndarray,
        version: str,
        *,
        limit: int,
        filter: Filter = NO_FILTER,
    ) -> pl.DataFrame:
        """Find the items nearest to each query, by cosine.

        Never fewer than `limit` when that many items match.

        Args:
            query_vectors_QD: finite and not zero; need not be normalised.
            version: model version that the queries were embedded with.
            limit: items per query, in [1, 16384].
            filter: what an item must meet.

        Returns:
            Best first, query by query.
                query_index  u32  row of `query_vectors_QD`
                item_id      str
                recall_score f32  cosine, in [-1, 1], rounded to 6 decimals
                recall_rank  u32  1 = best; equal scores in order of item_id

        Raises:
            NotFound: the version cannot be searched.
            OtherDim: the query vectors have another D than the version's.
            ValueError: a query vector is no good, or the limit is out of range.
        """
