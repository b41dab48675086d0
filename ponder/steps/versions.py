"""Which version is served, which ones there are, and which of them may go."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from catalog.lake.index_versions import IndexVersion, IndexVersions
from catalog.lake.lake import Lake
from ponder.settings import Settings
from ponder.steps.index import follow_lake, remove_deleted
from ponder.steps.validation import is_validated, validate_in
from ponder.telemetry.identity import identify
from ponder.telemetry.observation import observed
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake

if TYPE_CHECKING:
    from recall.index import ItemIndex

METRICS = (
    *("coverage", "self_retrieval", "recall", "live_overlap", "score_shift"),
    *("canary_cosine", "centroid_cosine", "mean_norm"),
    *("reasoning_rate", "wait_hours", "judged_recall"),
)
"""What is shown of a validation; see `recall.validation.Validation`."""


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

    removed: int
    """Items that left it before the switch, for they were deleted since."""

    index_seconds: float
    """What was done to the index until it was served: that, and the switch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """Which collection is gone, and which are left."""

    dropped: str
    left: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retired:
    """Which collections a policy takes away, and which it leaves."""

    retired: tuple[str, ...]
    left: tuple[str, ...]
    dry_run: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionSummary:
    """A version as it is shown."""

    version: str

    role: str
    """`live`, `previous` or empty."""

    state: str
    """See `catalog.lake.index_versions.State`."""

    num_items: int

    index_kind: str | None
    """How its vectors are indexed; None where it was not noted."""

    vector_bytes: int
    """Of its vectors as they were given, without a graph."""

    filled_at: datetime | None
    validated_at: datetime | None
    live_at: datetime | None

    metrics: dict[str, Any]
    """What its last validation measured."""

    problems: list[str]
    """What that found against it, in words; empty when it passed or there was none."""


@observed("promote")
def promote(settings: Settings, *, force: bool = False) -> Promoted:
    """Serve the configured version from now on; what was deleted since it was filled goes first.

    A version that has changed since its validation, or was never validated, is validated here.

    Args:
        settings: the deployment.
        force: serve it whatever its validation says.

    Raises:
        ValidationFailed: it must not go live.
    """
    version, lake = configured_version(settings), open_lake(settings)
    identify(version=version)
    with open_index(settings) as milvus:
        follow_lake(lake, milvus)
        milvus.dim(version)
        remove_deleted(lake, milvus)
        if not force and not is_validated(settings, lake, milvus, version):
            validate_in(settings, lake, milvus, version)
        before = IndexVersions(lake).live()
        _switch(lake, milvus, version)
    return Promoted(live=version, before=before)


@observed("rollback")
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
        started = time.perf_counter()
        removed = remove_deleted(lake, milvus, versions=[previous])  # the others can wait
        _switch(lake, milvus, previous)
        index_seconds = time.perf_counter() - started
        remove_deleted(lake, milvus)
    return RolledBack(
        live=previous, removed=removed.get(previous, 0), index_seconds=round(index_seconds, 3)
    )


def _switch(lake: Lake, milvus: "ItemIndex", version: str) -> None:
    """Answer queries from a version: the lake says so by one commit, and the alias follows."""
    milvus.dim(version)
    IndexVersions(lake).switch_to(version)
    milvus.promote(version)


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
        _drop(lake, milvus, version)
        return Dropped(dropped=version, left=tuple(milvus.versions()))


def _drop(lake: Lake, milvus: "ItemIndex", version: str) -> None:
    IndexVersions(lake).retire(version)  # first: no rollback may lead to what is gone
    milvus.drop(version)


def versions(settings: Settings) -> list[VersionSummary]:
    """Return the versions that ever had an index, the last one used first; read from the lake."""
    known = IndexVersions(open_lake(settings))
    roles = {known.previous(): "previous", known.live(): "live"}
    return [_summary(each, roles.get(each.version, "")) for each in _newest_first(known.all())]


def retire(settings: Settings, *, keep: int, days: float, dry_run: bool = False) -> Retired:
    """Drop collections that are neither live nor previous, by policy.

    Args:
        settings: the deployment.
        keep: of those, so many stay whatever their age: the last ones used.
        days: and all that were filled, validated or live within so many days.
        dry_run: only say which would go.
    """
    lake = open_lake(settings)
    known = IndexVersions(lake)
    with open_index(settings) as milvus:
        follow_lake(lake, milvus)
        used = {None, known.live(), known.previous()}
        idle = [v for v in _by_use(known, milvus.versions()) if v not in used]
        before = datetime.now(UTC) - timedelta(days=days)
        going = tuple(v for v in idle[keep:] if _last_used(known.of(v)) < before)
        for version in () if dry_run else going:
            _drop(lake, milvus, version)
        left = tuple(v for v in milvus.versions() if v not in going)
    return Retired(retired=going, left=left, dry_run=dry_run)


def _by_use(known: IndexVersions, collections: Sequence[str]) -> list[str]:
    """Return versions that have a collection, the last one used first, unknown ones last."""
    by_use = {each.version: n for n, each in enumerate(_newest_first(known.all()))}
    return sorted(collections, key=lambda version: (by_use.get(version, len(by_use)), version))


def _newest_first(known: Sequence[IndexVersion]) -> list[IndexVersion]:
    return sorted(known, key=lambda each: (-_last_used(each).timestamp(), each.version))


def _last_used(known: IndexVersion | None) -> datetime:
    """Return when anything last happened to a version; long ago for one that is not known."""
    changed_at = None if known is None else known.changed_at
    return changed_at or datetime(1970, 1, 1, tzinfo=UTC)


def _summary(known: IndexVersion, role: str) -> VersionSummary:
    measured = known.measured
    return VersionSummary(
        version=known.version,
        role=role,
        state=known.state,
        num_items=known.num_items,
        index_kind=known.index_kind,
        vector_bytes=known.vector_bytes,
        filled_at=known.filled_at,
        validated_at=known.validated_at,
        live_at=known.live_at,
        metrics={name: measured[name] for name in METRICS if measured.get(name) is not None},
        problems=known.problems,
    )
