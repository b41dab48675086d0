"""Which model versions have an index, how far each has come, and which of them is live.

The lake keeps it, one row a version: it outlives the index, every process may read it, and a change
is one commit. The version that went live last is the live one, and the one that did before it is
where a rollback leads; so a switch writes a single row, and no reader sees half of one.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import INDEX_VERSIONS

State = Literal["embedding", "filling", "filled", "validated", "refused", "retired"]
"""How far a version has come. `refused`: the last validation was against it. `retired`: its
collection was dropped; the lake keeps its vectors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexVersion:
    """What is known of a model version's index; columns of `index_versions`."""

    version: str
    state: State = "filling"

    switch: int | None = None
    """Number of the switch that made it live, from 1, ever growing; None: it never was, or is
    retired. The largest of all is the live version's."""

    num_items: int = 0
    dim: int = 0

    index_kind: str | None = None
    """How its vectors are indexed, one of `recall.index_kinds.KINDS`; None: not known, as of one
    that an earlier release filled."""

    items_commit: int | None = None
    """The last commit of `items` whose deletions its collection knows."""

    digest: str | None = None
    """Of the keys and content hashes that were validated."""

    validation: str | None = None
    """What the last validation measured, a JSON object; None before the first."""

    filled_at: datetime | None = None
    validated_at: datetime | None = None
    live_at: datetime | None = None
    """When it last went live."""

    changed_at: datetime | None = None

    @property
    def measured(self) -> dict[str, Any]:
        """What the last validation measured, by name; empty before the first."""
        return json.loads(self.validation) if self.validation else {}

    @property
    def problems(self) -> list[str]:
        """What the last validation found against it, in words."""
        return list(self.measured.get("problems", []))

    @property
    def vector_bytes(self) -> int:
        """Size of its vectors in the index's memory, without the graph."""
        return 4 * self.dim * self.num_items


class IndexVersions:
    """The versions of one lake's index."""

    def __init__(self, lake: Lake) -> None:
        """Read nothing yet."""
        self._lake = lake

    def all(self) -> list[IndexVersion]:
        """Return every version that ever had an index, in order of its name."""
        rows = self._lake.read(INDEX_VERSIONS).sort("version")
        return [IndexVersion(**row) for row in rows.iter_rows(named=True)]

    def of(self, version: str) -> IndexVersion | None:
        """Return what is known of a version; None when that is nothing."""
        return next((each for each in self.all() if each.version == version), None)

    def live(self) -> str | None:
        """Return the version that queries are answered from; None before the first promotion."""
        return next(iter(_by_switch(self.all())), None)

    def previous(self) -> str | None:
        """Return the version that a rollback leads to; None when there is none."""
        return next(iter(_by_switch(self.all())[1:]), None)

    def record(self, version: str, **changes: Any) -> IndexVersion:
        """Change fields of a version, or make it known; return what is known now."""
        return self._write(version, lambda known, others: replace(known, **changes))

    def switch_to(self, version: str) -> IndexVersion:
        """Make a version the live one, and the one before it the previous one.

        What is live already stays so, and what a rollback leads to is not forgotten.
        """

        def switched(known: IndexVersion, others: list[IndexVersion]) -> IndexVersion:
            if _is_live(known, others):
                return known
            last = max(each.switch or 0 for each in (known, *others))
            return replace(known, switch=last + 1, live_at=datetime.now(UTC))

        return self._write(version, switched)

    def retire(self, version: str) -> None:
        """Say that a version's collection is gone: no rollback leads to it.

        Raises:
            ValueError: it is live.
        """

        def retired(known: IndexVersion, others: list[IndexVersion]) -> IndexVersion:
            if _is_live(known, others):
                raise ValueError(
                    f"version {version!r} is live; promote another one before dropping it"
                )
            return replace(known, state="retired", switch=None, digest=None, items_commit=None)

        if self.of(version) is not None:
            self._write(version, retired)

    def _write(
        self,
        version: str,
        change: Callable[[IndexVersion, list[IndexVersion]], IndexVersion],
    ) -> IndexVersion:
        def rows(stored: pl.DataFrame) -> pl.DataFrame:
            known = {row["version"]: IndexVersion(**row) for row in stored.iter_rows(named=True)}
            before = known.pop(version, None)
            after = change(before or IndexVersion(version=version), list(known.values()))
            if after == before:
                return INDEX_VERSIONS.empty()
            after = replace(after, changed_at=datetime.now(UTC))
            return pl.DataFrame([asdict(after)], schema=INDEX_VERSIONS.schema)

        written = self._lake.rewrite(INDEX_VERSIONS, rows)
        if written.is_empty():
            written = self._lake.read(INDEX_VERSIONS).filter(pl.col("version") == version)
        return IndexVersion(**written.row(0, named=True))


def _is_live(version: IndexVersion, others: list[IndexVersion]) -> bool:
    return (version.switch or 0) > max((each.switch or 0 for each in others), default=0)


def _by_switch(versions: list[IndexVersion]) -> list[str]:
    """Return the versions that were live, the last first."""
    switches = {each.switch: each.version for each in versions if each.switch is not None}
    return [switches[number] for number in sorted(switches, reverse=True)]
