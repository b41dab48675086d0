"""Bring the index in line with the lake, validate it, and choose the version that is served."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ponder.settings import Settings
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake
from ponder.wiring.vectors import living_vectors

if TYPE_CHECKING:
    from recall.validation import Validation


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexed:
    """What a sync did to a version's collection, in items."""

    model_version: str
    upserted: int
    deleted: int
    unchanged: int


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
    """Make the configured version's collection equal to the lake; nobody queries it yet."""
    version = configured_version(settings)
    rows = living_vectors(open_lake(settings), version)
    if rows.is_empty():
        raise ValueError(f"version {version!r} has embedded no living item; land and embed first")
    with open_index(settings) as milvus:
        report = milvus.sync(version, rows, dim=len(rows["vector"][0]))
    return Indexed(
        model_version=version,
        upserted=report.upserted,
        deleted=report.deleted,
        unchanged=report.unchanged,
    )


def validate(settings: Settings, *, sample: int = 200, seed: int = 0) -> "Validation":
    """Validate the configured version's collection.

    Raises:
        ValidationFailed: it must not go live.
    """
    from recall.validation import validate

    version = configured_version(settings)
    rows = living_vectors(open_lake(settings), version)
    with open_index(settings) as milvus:
        validation = validate(milvus, version, rows, sample=sample, seed=seed)
    if not validation.passed:
        raise ValidationFailed(f"version {version!r}: " + "; ".join(validation.problems))
    return validation


def promote(settings: Settings) -> Promoted:
    """Serve the configured version from now on."""
    version = configured_version(settings)
    with open_index(settings) as milvus:
        before = milvus.live_version()
        milvus.promote(version)
    return Promoted(live=version, before=before)


def rollback(settings: Settings) -> RolledBack:
    """Serve the version that was live before."""
    with open_index(settings) as milvus:
        return RolledBack(live=milvus.rollback())


def drop(settings: Settings, version: str) -> Dropped:
    """Remove a version's collection; the lake keeps its vectors, so it can be filled again.

    Raises:
        LookupError: the version has no collection.
        ValueError: the version is live.
    """
    with open_index(settings) as milvus:
        milvus.drop(version)
        return Dropped(dropped=version, left=tuple(milvus.versions()))
