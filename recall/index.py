"""The item vectors of each model version in Milvus, kept equal to the lake."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import polars as pl

from catalog.lake.living_parts import LivingPart
from recall.collection import CODES, collection_name, indexes, item_schema
from recall.errors import IndexFailed, OtherDim
from recall.index_kinds import IndexKind, chosen_kind
from recall.index_search import IndexSearch
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
from recall.vector_search import EVERY_ID, KEYS

logger = logging.getLogger(__name__)


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


class ItemIndex(IndexSearch):
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
        if not self.has_codes(name):
            rows = rows.drop(CODES)
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
