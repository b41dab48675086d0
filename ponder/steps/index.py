"""Bring the index in line with the lake, validate it, and choose the version that is served."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.index_versions import IndexVersions
from catalog.lake.tables import ITEMS
from ponder.settings import Settings
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake
from ponder.wiring.vectors import deleted_items, embedded_dim, index_parts, living_vectors

if TYPE_CHECKING:
    from catalog.lake.lake import Lake
    from recall.index import ItemIndex, SyncReport
    from recall.validation import Validation


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexed:
    """What a sync did to a version's collection, in items."""

    model_version: str
    upserted: int
    deleted: int
    unchanged: int

    deleted_elsewhere: int
    """Deleted items that left the collections of other versions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promoted:
    """Which version is served now."""

    live: str

    before: str | None
    """The version that was; None before the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolledBack:
    """Which version is served again."""

    live: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """Which collection is gone, and which are left."""

    dropped: str
    left: tuple[str, ...]


class ValidationFailed(RuntimeError):
    """A filled collection must not go live; the text lists why, and the live one stays."""


def index(settings: Settings) -> Indexed:
    """Bring every version's collection in line with the lake, the configured one's included.

    Deletions come first, and reach every collection: the live one may be another version's, and a
    rollback may lead to any. A catalogue whose last item was deleted leaves empty collections.

    Raises:
        ValueError: the configured version has embedded no living item.
    """
    version, lake = configured_version(settings), open_lake(settings)
    with open_index(settings) as milvus:
        follow_lake(lake, milvus)
        removed = remove_deleted(lake, milvus)
        known = IndexVersions(lake)
        kept = {*milvus.versions(), version, known.live(), known.previous()} - {None}
        synced = {each: sync_collection(lake, milvus, each) for each in sorted(filter(None, kept))}
        report = synced[version]
    if report is None and not (synced and _is_all_deleted(lake)):
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


def remove_deleted(lake: "Lake", milvus: "ItemIndex") -> dict[str, int]:
    """Take what the lake knows as deleted out of every collection; return how many, by version."""
    gone = deleted_items(lake)
    return {version: milvus.remove(version, gone) for version in milvus.versions()}


def sync_collection(lake: "Lake", milvus: "ItemIndex", version: str) -> "SyncReport | None":
    """Make a version's collection equal to the lake.

    Returns None, and leaves the collection as it is, when the version has embedded no living item.
    """
    dim = embedded_dim(lake, version)
    if dim is None:
        return None
    return milvus.sync_parts(version, index_parts(lake, milvus, version), dim=dim)


def _is_all_deleted(lake: "Lake") -> bool:
    deleted = lake.scan(ITEMS).select(pl.len(), pl.col("deleted").sum()).collect()
    return 0 < deleted["len"][0] == deleted["deleted"][0]


def validate(settings: Settings, *, sample: int = 200, seed: int = 0) -> "Validation":
    """Validate the configured version's collection.

    Raises:
        ValidationFailed: it must not go live.
    """
    from recall.validation import validate

    version, lake = configured_version(settings), open_lake(settings)
    with open_index(settings) as milvus:
        held = milvus.keys(version)
        rows = living_vectors(lake, version, held=held)
        if rows.is_empty() and not _is_all_deleted(lake):
            raise ValueError(
                f"embeddings of version {version!r} must not be empty; embed items first"
            )
        validation = validate(milvus, version, rows, sample=sample, seed=seed)
    if not validation.passed:
        raise ValidationFailed(f"version {version!r}: " + "; ".join(validation.problems))
    return validation


def promote(settings: Settings) -> Promoted:
    """Serve the configured version from now on; what was deleted since it was filled goes first."""
    version, lake = configured_version(settings), open_lake(settings)
    with open_index(settings) as milvus:
        follow_lake(lake, milvus)
        remove_deleted(lake, milvus)
        before = IndexVersions(lake).live()
        switch(lake, milvus, version)
    return Promoted(live=version, before=before)


def switch(lake: "Lake", milvus: "ItemIndex", version: str) -> None:
    """Answer queries from a version: the lake says so by one commit, and the alias follows.

    Raises:
        NotFound: the version has no collection.
    """
    milvus.dim(version)
    IndexVersions(lake).switch_to(version)
    milvus.promote(version)


def rollback(settings: Settings) -> RolledBack:
    """Serve the version that was live before; what was deleted since then goes first.

    The two change places, so rolling back twice changes nothing.

    Raises:
        Unavailable: no version was live before.
    """
    from recall.errors import Unavailable

    lake = open_lake(settings)
    known = IndexVersions(lake)
    with open_index(settings) as milvus:
        follow_lake(lake, milvus)
        previous = known.previous()
        if previous is None:
            raise Unavailable(
                f"a rollback needs a version that was live before {known.live()!r}, got none; "
                f"promote one of {milvus.versions()}"
            )
        remove_deleted(lake, milvus)
        switch(lake, milvus, previous)
    return RolledBack(live=previous)


def drop(settings: Settings, version: str) -> Dropped:
    """Remove a version's collection; the lake keeps its vectors, so it can be filled again.

    Raises:
        LookupError: the version has no collection.
        ValueError: the version is live.
    """
    lake = open_lake(settings)
    with open_index(settings) as milvus:
        follow_lake(lake, milvus)
        milvus.dim(version)
        IndexVersions(lake).retire(version)  # first: no rollback may lead to what is gone
        milvus.drop(version)
        return Dropped(dropped=version, left=tuple(milvus.versions()))
