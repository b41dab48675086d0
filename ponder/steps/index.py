"""Bring the collections of all versions in line with the lake."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.index_versions import IndexVersion, IndexVersions
from catalog.lake.living_embeddings import living_items
from catalog.lake.tables import ITEMS
from ponder.settings import Settings
from ponder.steps.codes import assign_where_used
from ponder.steps.validation import is_all_deleted
from ponder.telemetry.identity import identify
from ponder.telemetry.observation import observed
from ponder.telemetry.step_metrics import StepMetrics
from ponder.telemetry.tracing import span
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake
from ponder.wiring.vectors import deleted_items, embedded_dim, index_parts

if TYPE_CHECKING:
    from catalog.lake.lake import Lake
    from recall.index import ItemIndex, SyncReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexed:
    """What a sync did to a version's collection, in items."""

    model_version: str
    upserted: int
    deleted: int
    unchanged: int

    deleted_elsewhere: int
    """Deleted items that left the collections of other versions."""


def _count(metrics: StepMetrics, done: Indexed) -> None:
    metrics.indexing.count(
        upserted=done.upserted,
        deleted=done.deleted + done.deleted_elsewhere,
        held=done.upserted + done.unchanged,
    )


@observed("index", count=_count)
def index(settings: Settings) -> Indexed:
    """Bring every version's collection in line with the lake, the configured one's included.

    Deletions come first, and reach every collection: the live one may be another version's, and a
    rollback may lead to any. A catalogue whose last item was deleted leaves empty collections. What
    was embedded since is given codes, where a version has codebooks.

    Raises:
        ValueError: the configured version has embedded no living item.
    """
    version, lake = configured_version(settings), open_lake(settings)
    identify(version=version)
    with open_index(settings) as milvus:
        follow_lake(lake, milvus)
        removed = remove_deleted(lake, milvus)
        known = IndexVersions(lake)
        kept = {*milvus.versions(), version, known.live(), known.previous()} - {None}
        versions = sorted(filter(None, kept))
        assign_where_used(settings, versions)
        synced = {each: sync_collection(lake, milvus, each) for each in versions}
        report = synced[version]
    if report is None and not (synced and is_all_deleted(lake)):
        raise ValueError(f"version {version!r} has embedded no living item; land and embed first")
    return Indexed(
        model_version=version,
        upserted=report.upserted if report else 0,
        deleted=removed.pop(version, 0) + (report.deleted if report else 0),
        unchanged=report.unchanged if report else 0,
        deleted_elsewhere=sum(removed.values()),
    )


def follow_lake(lake: "Lake", milvus: "ItemIndex") -> None:
    """Lead Milvus's alias to the version that the lake says is live, should it lead elsewhere.

    A switch that was killed is completed so. A lake of an earlier release says nothing yet, and is
    told what the alias says.
    """
    known = IndexVersions(lake)
    live = known.live()
    if live is None and (aliased := milvus.live_version()) is not None:
        known.switch_to(aliased)
    elif live is not None and live in milvus.versions():
        milvus.promote(live)


def remove_deleted(
    lake: "Lake", milvus: "ItemIndex", *, versions: Sequence[str] | None = None
) -> dict[str, int]:
    """Take what the lake knows as deleted out of every collection; return how many, by version.

    A collection that knows the present state of `items` is left alone, and any other is only asked
    for what was deleted since the state that it knows.

    Args:
        lake: its tables.
        milvus: the index.
        versions: only of these versions; None: of all.
    """
    known, commit = IndexVersions(lake), lake.version(ITEMS)
    asked = milvus.versions() if versions is None else versions
    behind = [v for v in asked if _items_commit(known, v) != commit]
    if not behind:
        return {}
    removed = {
        version: milvus.remove(version, deleted_items(lake, since=_items_commit(known, version)))
        for version in behind
    }
    for version in behind:
        known.record(version, items_commit=commit)
    return removed


def _items_commit(known: IndexVersions, version: str) -> int | None:
    found = known.of(version)
    return None if found is None else found.items_commit


def sync_collection(lake: "Lake", milvus: "ItemIndex", version: str) -> "SyncReport | None":
    """Make a version's collection equal to the lake, and say in the lake that it is.

    Returns None, and leaves the collection as it is, when the version has embedded no living item.
    """
    with span("sync", version=version):
        return _synced(lake, milvus, version)


def _synced(lake: "Lake", milvus: "ItemIndex", version: str) -> "SyncReport | None":
    dim, commit = embedded_dim(lake, version), lake.version(ITEMS)
    if dim is None:
        return None
    num_items = int(living_items(lake).select(pl.len()).collect().item())
    parts = index_parts(lake, milvus, version)
    report = milvus.sync_parts(version, parts, dim=dim, num_items=num_items)
    known = IndexVersions(lake)
    before = known.of(version) or IndexVersion(version=version)
    is_filled = before.filled_at is not None and before.state not in ("filling", "retired")
    is_changed = not is_filled or bool(report.upserted or report.deleted)
    if is_changed or before.items_commit != commit or before.index_kind is None:
        known.record(
            version,
            state="filled" if is_changed else before.state,
            num_items=report.upserted + report.unchanged,
            dim=dim,
            index_kind=milvus.index_kind(version),
            items_commit=commit,  # as before the sync, which may have missed later deletions
            filled_at=datetime.now(UTC),
        )
    return report
