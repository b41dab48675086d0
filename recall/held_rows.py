"""What the collection of a model version holds, read back: keys, counts and vectors."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from pymilvus.client.types import ConsistencyLevel

from catalog.lake.living_parts import IdRange
from recall.contents import KeysDigest
from recall.filters import Filter, ids_between, ids_in, quoted
from recall.vector_search import EVERY_ID, KEYS, NO_FILTER
from recall.versions import Versions


class HeldRows(Versions):
    """The rows of every model version's collection, as its readers and its writer need them."""

    def keys(self, version: str, ids: IdRange = EVERY_ID) -> pl.DataFrame:
        """Return what the version's collection holds: item_id, content_hash, row_hash, all str.

        Only of a range of ids, when one is given.
        """
        pages = self._pages(
            version, expression=ids_between(ids.begin, ids.end), columns=tuple(KEYS)
        )
        return pl.DataFrame([row for page in pages for row in page], schema=KEYS)

    def digest(self, version: str) -> str:
        """Return the digest of the keys and content hashes that the collection holds, page by page.

        It costs a read of all keys, 1 ms per 1,000 on Milvus Lite.
        """
        digest = KeysDigest()
        for page in self._pages(version, expression="", columns=("item_id", "content_hash")):
            digest.add(pl.DataFrame(page))
        return digest.value()

    def count(self, version: str, *, filter: Filter = NO_FILTER) -> int:
        """Count the items that match, what was written just now included."""
        reply = self._client.query(
            self._collection(version),
            filter=self.expression(filter, version),
            output_fields=["count(*)"],
            consistency_level="Strong",
        )
        return int(reply[0]["count(*)"])

    def vectors(
        self, item_ids: Sequence[str], version: str, *, filter: Filter = NO_FILTER
    ) -> dict[str, np.ndarray]:
        """Return the [D] float32 vectors of the items; see `recall.vector_search.VectorSearch`."""
        name, expression = self._collection(version), self.expression(filter, version)
        also = f" and ({expression})" if expression else ""
        return {
            row["item_id"]: np.asarray(row["vector"], dtype=np.float32)
            for ids in self._id_batches(item_ids)
            for row in self._client.query(
                name, filter=f"{ids}{also}", output_fields=["item_id", "vector"]
            )
        }

    def held(self, version: str, item_ids: pl.Series) -> pl.Series:
        """Return those of the items that the version's collection holds."""
        name = self._collection(version)
        found = [
            row["item_id"]
            for ids in self._id_batches(item_ids.to_list())
            for row in self._client.query(
                name, filter=ids, output_fields=["item_id"], consistency_level="Strong"
            )
        ]
        return pl.Series("item_id", found, dtype=pl.String)

    def _id_batches(self, item_ids: Sequence[str]) -> Iterator[str]:
        for start in range(0, len(item_ids), self.config.page_rows):
            yield ids_in(item_ids[start : start + self.config.page_rows])

    def _pages(
        self, version: str, *, expression: str, columns: Sequence[str], is_strong: bool = True
    ) -> Iterator[list[dict[str, Any]]]:
        # Not pymilvus's query_iterator, nor its reads and deletes by id: they paste ids between
        # quotes as they are, and an id with a quote in it then breaks out of the expression.
        name, after = self._collection(version), ""
        level = ConsistencyLevel.Strong if is_strong else ConsistencyLevel.Bounded
        matching = [f"({expression})"] if expression else []
        while page := self._client.query(
            name,
            filter=" and ".join([*matching, *([after] if after else [])]),
            output_fields=list(columns),
            limit=self.config.page_rows,
            consistency_level=level,
            iterator="True",  # in order of item_id, as the next page needs it
            reduce_stop_for_best="True",
        ):
            yield page
            after = f"item_id > {quoted(page[-1]['item_id'])}"
