"""The state of a deployment as its lake tells it: versions, freshness, drift."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from catalog.lake.index_versions import IndexVersion, IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.maintenance import history
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, EVENTS, ITEMS, RATIONALES, Table
from serving.remembered import Remembered
from serving.state_replies import StateReply, TableState, VersionState

SHOWN_TABLES = (ITEMS, EVENTS, EMBEDDINGS, RATIONALES, DEAD_LETTERS)
ROW_OPERATIONS = ("WRITE", "MERGE", "DELETE", "UPDATE")
"""Delta's names of what changes rows; a compaction or a vacuum changes none."""

RECENT = timedelta(days=7)
"""Before the newest item: whose catalogue stands still has recent items all the same."""

UNTOLD = ("centroid_D", "digest", "problems")
"""Of a validation: what only the next one reads, and what is told by itself."""

NUM_COMMITS = 20  # looked back through for one that changed rows
MAX_AGE_S = 10.0


class State:
    """Reads the state, at most every ten seconds; safe to call from several threads."""

    def __init__(
        self,
        lake: Lake,
        live_version: Callable[[], str | None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read nothing yet.

        Args:
            lake: its tables.
            live_version: the version that answers; None while none does.
            now: the present moment, with a time zone.
        """
        self._lake = lake
        self._live_version = live_version
        self._now = now
        self._reply = Remembered(self._read, max_age_s=MAX_AGE_S)

    def read(self) -> StateReply:
        """Return the state as it was at most ten seconds ago."""
        return self._reply.get()

    def _read(self) -> StateReply:
        living = self._lake.scan(ITEMS).filter(~pl.col("deleted"))
        num_items, newest_item_at = (
            living.select(pl.len(), pl.col("updated_at").max()).collect().row(0)
        )
        newest_event_at = self._lake.scan(EVENTS).select(pl.col("ts").max()).collect().item()
        live = self._live_version()
        return StateReply(
            live=live,
            num_items=num_items,
            newest_item_at=newest_item_at,
            newest_event_at=newest_event_at,
            versions=self._versions(living, num_items, newest_item_at, live),
            tables=[self._table(table) for table in SHOWN_TABLES],
            read_at=self._now(),
        )

    def _versions(
        self, living: pl.LazyFrame, num_items: int, newest: datetime | None, live: str | None
    ) -> list[VersionState]:
        """Compare contents by a hash of their keys: ten million of them take some 100 MB."""
        if newest is None:
            return []
        gate, is_recent = pl.col("gate_probability"), pl.col("is_recent")
        key = pl.struct("item_id", "content_hash").hash().alias("key")
        embedded = (
            self._lake.scan(EMBEDDINGS)
            .select("model_version", "action", "gate_probability", key)
            .join(living.select(key, is_recent=pl.col("updated_at") > newest - RECENT), on="key")
            .group_by("model_version")
            .agg(
                num_items=pl.len(),
                reasoned_share=(pl.col("action") == "reason").mean(),
                mean_gate_probability=gate.mean(),
                num_recent=is_recent.sum(),
                recent_gate_probability=gate.filter(is_recent).mean(),
            )
            .collect(engine="streaming")
        )
        index = IndexVersions(self._lake)
        indexed = {each.version: each for each in index.all()}
        previous = index.previous()
        states = [
            VersionState(
                version=row["model_version"],
                is_live=row["model_version"] == live,
                is_previous=row["model_version"] == previous,
                **_index_state(indexed.get(row["model_version"])),
                num_items=row["num_items"],
                num_waiting=num_items - row["num_items"],
                reasoned_share=row["reasoned_share"],
                mean_gate_probability=row["mean_gate_probability"],
                num_recent=row["num_recent"],
                recent_gate_probability=row["recent_gate_probability"],
            )
            for row in embedded.iter_rows(named=True)
        ]
        return sorted(
            states, key=lambda each: (not each.is_live, not each.is_previous, each.version)
        )

    def _table(self, table: Table) -> TableState:
        rows = self._lake.scan(table).select(pl.len()).collect().item()
        changes = [
            commit.at
            for commit in history(self._lake, table, limit=NUM_COMMITS)
            if commit.operation in ROW_OPERATIONS
        ]
        return TableState(name=table.name, num_rows=rows, changed_at=max(changes, default=None))


def _index_state(known: IndexVersion | None) -> dict[str, Any]:
    if known is None:
        return {
            "state": None,
            "live_at": None,
            "validated_at": None,
            "validation": {},
            "problems": [],
        }
    return {
        "state": known.state,
        "live_at": known.live_at,
        "validated_at": known.validated_at,
        "validation": {k: v for k, v in known.measured.items() if k not in UNTOLD},
        "problems": known.problems,
    }
