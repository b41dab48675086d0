"""Items that are put and deleted through the service: landed, embedded and searchable at once.

One change costs a commit or two and a pass of the model, so this is for the few that cannot wait;
what changes by the thousand comes by Kafka.
"""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, cast

import polars as pl

from catalog.images.fetcher import ImageFetcher
from catalog.images.image import ImageConfig
from catalog.ingest.item_change import LandedItem, land_item_change
from catalog.lake.dead_letter_kinds import HTTP_TOPIC
from catalog.lake.item_codes import put_codes
from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, ITEMS
from catalog.records import RawRecord, RecordError
from embedder.codes.codebooks import told
from ponder.wiring.codes import matrix

if TYPE_CHECKING:
    from embedder.codes.codebooks import Codebooks
    from embedder.content import CatalogueEncoder, Encoder
    from recall.search import Recall
    from serving.replies import ItemChangeReply

logger = logging.getLogger(__name__)

ORIGIN = "http"
STALE = "the lake holds a newer record of the item, which stays"

Embed = Callable[["CatalogueEncoder", str], object]
"""Embeds an item, by its id, and writes what comes of it to the lake."""


CodebooksOf = Callable[[str], "Codebooks | None"]


class LakeItemWriter:
    """Implements `serving.item_changes.ItemWriter`; safe to call from several threads."""

    def __init__(
        self,
        lake: Lake,
        recall: "Recall",
        embed: Embed,
        image_config: ImageConfig,
        *,
        codebooks_of: CodebooksOf = lambda version: None,
    ) -> None:
        """Write to a lake and to the index that recall searches.

        Args:
            lake: where changes land.
            recall: its live version is the one that an item is embedded with.
            embed: see `Embed`.
            image_config: where images may be fetched from.
            codebooks_of: those in use of a version; None: it has none.
        """
        self._lake, self._recall, self._embed = lake, recall, embed
        self._image_config, self._codebooks_of = image_config, codebooks_of
        self._offsets = Lock()
        self._last_offset = 0

    def put(self, item_id: str, body: bytes) -> "ItemChangeReply":
        """Land the item that a body holds; see `serving.item_changes.ItemWriter`."""
        now = datetime.now(UTC)
        landed = self._land(self._record(item_id, _addressed(item_id, body, now), now))
        if landed.item.deleted:  # a body may say so too
            return self._gone(landed)
        return self._made_searchable(landed)

    def delete(self, item_id: str) -> "ItemChangeReply":
        """Land an item's tombstone; see `serving.item_changes.ItemWriter`."""
        landed = self._land(self._record(item_id, None, datetime.now(UTC)))
        return self._gone(landed)

    def _land(self, record: RawRecord) -> LandedItem:
        from serving.errors import InvalidItem

        with ImageFetcher(self._image_config) as images:
            try:
                return land_item_change(record, self._lake, images=images, origin=ORIGIN)
            except RecordError as error:
                raise InvalidItem(f"{error.stage}: {error}") from error

    def _record(self, item_id: str, value: bytes | None, now: datetime) -> RawRecord:
        with self._offsets:  # a dead letter is known by it
            self._last_offset = max(self._last_offset + 1, time.time_ns() // 1_000)
            offset = self._last_offset
        return RawRecord(HTTP_TOPIC, 0, offset, value, item_id.encode(), now)

    def _made_searchable(self, landed: LandedItem) -> "ItemChangeReply":
        """Embed the item as the live version does, and put it into that version's collection."""
        from embedder.reasoners.reasoner import ReasonerOutage
        from recall.errors import IndexFailed, Unavailable

        item_id = landed.item.item_id
        if landed.outcome == "stale":
            return _reply(landed, None, STALE)
        try:
            version = self._recall.live.get()
            self._recall.encoder.run(version, lambda encoder: self._embedded(encoder, item_id))
            rows = _index_rows(self._lake, item_id, version, self._codebooks(version))
            if rows.is_empty():
                return _reply(landed, version, "the live version cannot embed it; see its letter")
            self._recall.index.put(version, rows)
        except (IndexFailed, ReasonerOutage, Unavailable) as error:
            logger.warning("landed but not indexed yet: %s: %s", type(error).__name__, error)
            return _reply(landed, None, "it is landed, and searchable after the next ponder index")
        return _reply(landed, version)

    def _codebooks(self, version: str) -> "Codebooks | None":
        try:
            return self._codebooks_of(version)
        except ValueError as error:
            logger.warning("an item goes without codes: %s", error)
            return None

    def _embedded(self, encoder: "Encoder", item_id: str) -> None:
        self._embed(cast("CatalogueEncoder", encoder), item_id)

    def _gone(self, landed: LandedItem) -> "ItemChangeReply":
        """Take the item out of every collection, unless a newer record keeps it."""
        from recall.errors import IndexFailed, Unavailable

        if landed.outcome == "stale":
            return _reply(landed, None, STALE)
        try:
            self._recall.index.discard([landed.item.item_id])
        except (IndexFailed, Unavailable) as error:
            logger.warning("deleted but still indexed: %s", error)
            return _reply(landed, None, "it is deleted, and found until the next ponder index")
        return _reply(landed, None)


def _addressed(item_id: str, body: bytes, now: datetime) -> bytes:
    """Return a body with the item's id and time in it; as it is when it is no object.

    Raises:
        InvalidItem: it names another item.
    """
    from serving.errors import InvalidItem

    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(fields, dict):
        return body
    if fields.get("item_id") is None:
        fields["item_id"] = item_id
    if fields["item_id"] != item_id:
        raise InvalidItem(
            f"item_id must be that of the address, {item_id!r}, got {fields['item_id']!r:.300}"
        )
    if fields.get("updated_at") is None:
        fields["updated_at"] = now.isoformat()
    return json.dumps(fields).encode()


def _index_rows(
    lake: Lake, item_id: str, version: str, codebooks: "Codebooks | None"
) -> pl.DataFrame:
    """Return the item as `recall.index.ItemIndex.put` takes it; empty when it is not embedded.

    Where there are codebooks it has its codes, in the lake too.
    """
    is_it = pl.col("item_id") == item_id
    embedded = (
        lake.scan(EMBEDDINGS)
        .filter(is_it, pl.col("model_version") == version)
        .select("item_id", "content_hash", "vector")
    )
    living = lake.scan(ITEMS).filter(is_it, ~pl.col("deleted"))
    found = living.join(embedded, on=["item_id", "content_hash"]).collect()
    if codebooks is None or found.is_empty():
        return found.with_columns(codes=pl.lit(""))
    codes = pl.Series("codes", codebooks.assign(matrix(found["vector"])).tolist())
    coded = found.select("item_id", "content_hash", codes.cast(pl.List(pl.Int32)))
    put_codes(lake, coded, version=version, codes_id=codebooks.id)
    return found.with_columns(codes=pl.lit(f"{told(codes[0].to_list())}-"))


def _reply(landed: LandedItem, version: str | None, why_not: str = "") -> "ItemChangeReply":
    from serving.replies import ItemChangeReply

    return ItemChangeReply(
        item_id=landed.item.item_id,
        outcome=landed.outcome,
        updated_at=landed.item.updated_at,
        searchable=not why_not,
        version=version,
        message=why_not,
    )
