"""The item vectors of each model version in Milvus: kept equal to the lake, and searched.

Shape legend: Q = queries, N = items of a page, D = embedding dimension.
"""

import heapq
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from pymilvus.client.types import ConsistencyLevel

from catalog.lake.living_parts import IdRange, LivingPart
from evaluation.exact_ranking import SCORE_DECIMALS
from recall.client import within
from recall.collection import (
    MAX_LIMIT,
    collection_name,
    indexes,
    item_schema,
)
from recall.contents import KeysDigest
from recall.crowds import with_crowds
from recall.errors import IndexFailed, OtherDim
from recall.filters import Filter, ids_between, ids_in, quoted
from recall.index_kinds import IndexKind, chosen_kind
from recall.placement import (
    CROWD_PARTITION,
    GRAPH_PARTITION,
    Placement,
    elsewhere,
    is_in_crowd,
    keyed,
)
from recall.readiness import wait_until_indexed
from recall.rows import index_rows, write_batches
from recall.vector_search import EVERY_ID, KEYS, NO_FILTER, RANKED, check_queries
from recall.versions import Versions

logger = logging.getLogger(__name__)

TIE_ROOM = 16  # rows fetched beyond the limit, so that a tie at its edge is settled by id
Scores = list[tuple[str, float]]  # item_id and cosine


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncReport:
    """What a sync did to a collection."""

    upserted: int = 0
    deleted: int = 0
    unchanged: int = 0

    def __add__(self, other: "SyncReport") -> "SyncReport":
        return SyncReport(
            upserted=self.upserted + other.upserted,
            deleted=self.deleted + other.deleted,
            unchanged=self.unchanged + other.unchanged,
        )


class ItemIndex(Versions):
    """Item vectors of every model version.

    One writer at a time: two syncs of one version may leave rows of both.
    """

    def sync(self, version: str, rows: pl.DataFrame, *, dim: int) -> SyncReport:
        """Make the version's collection hold exactly `rows`, and return what it took.

        Rows are compared by key and hash, not by count: what is the same stays untouched, what has
        changed is written again, what `rows` no longer holds is deleted. Killed at any point, the
        next sync finishes the work.

        Args:
            version: model version; its collection is made when it is missing.
            rows: every item that the version has embedded, as `recall.rows.index_rows` takes them.
            dim: D of the model version.

        Raises:
            ValueError: `rows` is empty, which would wipe the collection; an item is listed twice;
                a vector is no good; or the collection has another dim.
        """
        if rows.is_empty():
            raise ValueError(
                f"rows of version {version!r} must not be empty; to remove a version, drop it"
            )
        held = self.keys(version) if version in self.versions() else KEYS.to_frame()
        part = LivingPart(EVERY_ID, held, rows)
        return self.sync_parts(version, [part], dim=dim, num_items=len(rows))

    def sync_parts(
        self, version: str, parts: Iterable[LivingPart], *, dim: int, num_items: int
    ) -> SyncReport:
        """Make the collection hold exactly the rows of all parts; see `sync`.

        One part at a time is in memory.

        Args:
            version: model version; its collection is made when it is missing.
            parts: ranges of ids that together cover all of them, with what `keys` says of each.
            dim: D of the model version.
            num_items: about how many rows there are, by which a new collection's index is chosen.
        """
        name, report = self._ensure(version, dim=dim, num_items=num_items), SyncReport()
        placement = Placement(self.config.max_identical) if self._crowds.are_kept(name) else None
        for part in parts:
            report += self._sync_part(name, part, placement, dim=dim)
        if report.upserted or report.deleted:
            self._client.flush(name)
            self.wait_until_indexed(version)
        logger.info("synced version=%s %s", version, report)
        return report

    def _sync_part(
        self, name: str, part: LivingPart, placement: Placement | None, *, dim: int
    ) -> SyncReport:
        wanted = index_rows(part.rows, dim=dim) if len(part.rows) else KEYS.to_frame()
        if placement is not None and len(wanted):
            wanted = placement.place(keyed(wanted))
        gone = part.held.join(wanted, on="item_id", how="anti")["item_id"].to_list()
        self._delete(name, gone)
        changed = wanted.join(part.held, on=["item_id", "row_hash"], how="anti")
        if len(changed):
            moved = changed.join(part.held, on="item_id", suffix="_held")
            self._write(name, changed, moved=moved)
        return SyncReport(
            upserted=len(changed), deleted=len(gone), unchanged=len(wanted) - len(changed)
        )

    def _write(self, name: str, rows: pl.DataFrame, *, moved: pl.DataFrame) -> None:
        """Write rows, and delete where they were those that lay in the other partition.

        Written first, they are found throughout. But Milvus Lite, where nobody searches meanwhile,
        deletes in all partitions.
        """
        if self.config.is_lite:
            self._delete_moved(name, moved)
        self._upsert(name, rows)
        if not self.config.is_lite:
            self._delete_moved(name, moved)

    def _upsert(self, name: str, rows: pl.DataFrame) -> None:
        in_crowd = is_in_crowd("row_hash")
        for partition, part in (
            (GRAPH_PARTITION, rows.filter(~in_crowd)),
            (CROWD_PARTITION, rows.filter(in_crowd)),
        ):
            for batch in write_batches(part, max_bytes=self.config.upsert_bytes):
                self._client.upsert(name, batch, partition_name=partition)
        self._crowds.forget()

    def _delete_moved(self, name: str, rows: pl.DataFrame) -> None:
        is_now, was = is_in_crowd("row_hash"), is_in_crowd("row_hash_held")
        for moved, before in ((is_now & ~was, GRAPH_PARTITION), (was & ~is_now, CROWD_PARTITION)):
            self._delete(name, rows.filter(moved)["item_id"].to_list(), partition=before)

    def wait_until_indexed(self, version: str) -> None:
        """Wait until a server searches all that was written by the index, as long as calls may."""
        if not self.config.is_lite:  # Milvus Lite builds its index with the flush
            name = self._collection(version)  # a new one is not loaded before
            wait_until_indexed(self._client, name, timeout_s=self.config.call_timeout_s)

    def remove(self, version: str, item_ids: pl.Series) -> int:
        """Delete those of the items that the version's collection holds; return how many.

        No search finds them once it has returned.

        Raises:
            NotFound: the version has no collection.
        """
        name = self._collection(version)
        gone = self.held(version, item_ids).to_list()
        if gone:
            self._delete(name, gone)
            self._await_deletions(name)
            logger.info("removed version=%s items=%d", version, len(gone))
        return len(gone)

    def _await_deletions(self, name: str) -> None:
        """Return when searches no longer find what was deleted, weakly consistent ones included.

        A strong read waits until the server has taken in all that was written before it; a flush
        would do as well, and takes seconds.
        """
        self._client.query(
            name, filter="", limit=1, output_fields=["item_id"], consistency_level="Strong"
        )

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

    def put(self, version: str, rows: pl.DataFrame) -> None:
        """Write rows into the version's collection, and leave all others as they are.

        A sync that runs meanwhile may write what these items were before; the next one heals it.

        Args:
            version: model version.
            rows: as `sync` takes them.

        Raises:
            NotFound: the version has no collection.
            OtherDim: all vectors have another D than the collection's.
            ValueError: an item is listed twice, or a vector is no good.
        """
        name, dim = self._collection(version), self.dim(version)
        lengths = rows["vector"].list.len().unique().to_list()
        if len(lengths) == 1 and lengths[0] not in (None, dim):
            raise OtherDim(version, dim=dim, got=lengths[0])
        wanted = index_rows(rows, dim=dim)
        if self._crowds.are_kept(name):
            wanted = self._crowds.place_new(name, keyed(wanted))
            self._write(name, wanted, moved=elsewhere(wanted))  # where they may have been
        else:
            self._upsert(name, wanted)

    def discard(self, item_ids: Sequence[str]) -> None:
        """Delete items from every version's collection; unknown ones are passed over."""
        for version in self.versions():
            self._delete(self._collection(version), item_ids)

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
            filter=filter.expression(),
            output_fields=["count(*)"],
            consistency_level="Strong",
        )
        return int(reply[0]["count(*)"])

    def vectors(
        self, item_ids: Sequence[str], version: str, *, filter: Filter = NO_FILTER
    ) -> dict[str, np.ndarray]:
        """Return the [D] float32 vectors of the items; see `recall.vector_search.VectorSearch`."""
        name, expression = self._collection(version), filter.expression()
        also = f" and ({expression})" if expression else ""
        return {
            row["item_id"]: np.asarray(row["vector"], dtype=np.float32)
            for ids in self._id_batches(item_ids)
            for row in self._client.query(
                name, filter=f"{ids}{also}", output_fields=["item_id", "vector"]
            )
        }

    def refresh(self) -> bool:
        """Return that there is nothing to do: Milvus itself takes in what is written to it."""
        return False

    def request(self) -> AbstractContextManager[None]:
        """Let all that a block asks end within the search timeout, together."""
        return within(self.config.search_timeout_s)

    def kind_of(self, version: str) -> str:
        """Return what is searched of a version, as an answer names it."""
        return f"milvus_{self.index_kind(version).lower()}"

    def planned_kind(self, *, num_items: int, dim: int) -> IndexKind:
        """Return the kind of index that a new collection of this size gets.

        Raises:
            ValueError: this Milvus does not have the kind that the config asks for.
        """
        return chosen_kind(
            self.config.index_type,
            self._client.get_server_version(),
            num_items=num_items,
            dim=dim,
            m=self.config.parameters.m,
            memory_bytes=self.config.memory_bytes,
        )

    @property
    def consistency(self) -> str:
        """How far behind its writers a search may be."""
        return "strong" if self.config.is_lite else "bounded"

    def _ensure(self, version: str, *, dim: int, num_items: int) -> str:
        name = collection_name(self.config.alias, version)
        if not self._client.has_collection(name):
            self._create(name, self.planned_kind(num_items=num_items, dim=dim), dim=dim)
        elif self.dim(version) != dim:
            raise ValueError(
                f"collection {name!r} has dim {self.dim(version)} but the embedder gives {dim}; "
                "register the embedder under a version of its own"
            )
        self._crowds.ensure(name)
        return name

    def _create(self, name: str, kind: IndexKind, *, dim: int) -> None:
        try:
            self._client.create_collection(
                name,
                schema=item_schema(dim),
                index_params=indexes(self.config, kind),
                consistency_level="Bounded",  # strong reads cost a server 200 ms each
            )
        except IndexFailed:
            with suppress(IndexFailed):  # or the next sync would find it, without an index
                self._client.drop_collection(name)
            raise
        logger.info("made collection=%s index=%s", name, kind)

    def _delete(self, name: str, item_ids: Sequence[str], *, partition: str | None = None) -> None:
        for ids in self._id_batches(item_ids):
            if partition != GRAPH_PARTITION:
                self._crowds.appoint(name, ids)
            self._client.delete(name, filter=ids, partition_name=partition)

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
        expression = filter.expression()
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
