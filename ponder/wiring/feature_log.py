"""What features are made from, read from the lake as it was known when."""

from dataclasses import dataclass

import polars as pl

from catalog.lake.item_versions import DESCRIBED
from catalog.lake.tables import EVENTS, ITEM_VERSIONS, ITEMS, LANDED_AT, TIME
from features.landings import Landings, item_histories
from features.log import Log
from ponder.settings import Settings
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake
from ponder.wiring.vectors import vectors_over_time


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScannedLog:
    """A log whose events are read when they are asked for, for they may be more than memory has."""

    events: pl.LazyFrame
    """Of one commit, whatever lands meanwhile; with `landed_at`."""

    items: pl.DataFrame
    vectors: pl.DataFrame
    """As of `features.log.Log`."""

    version: str
    """Model version of the vectors, or of what would embed the items."""

    def read(self) -> Log:
        """Read all of it."""
        return Log(self.events.collect(), self.items, self.vectors, version=self.version)


def scan_log(settings: Settings, version: str | None = None) -> ScannedLog:
    """Return what a ranker may learn from: as it was known when, vectors of one version.

    Args:
        settings: the deployment.
        version: model version of the vectors; the configured one when None.
    """
    lake, version = open_lake(settings), version or configured_version(settings)
    events, versions = lake.scan_landed(EVENTS), lake.read(ITEM_VERSIONS)
    if settings.landings_from is not None:
        together = pl.max_horizontal(LANDED_AT, pl.lit(settings.landings_from, TIME))
        landed = pl.when(pl.col(LANDED_AT).is_not_null()).then(together)
        events, versions = events.with_columns(landed), versions.with_columns(landed)
    items = item_histories(versions, lake.read(ITEMS, DESCRIBED), Landings.of(events))
    vectors = vectors_over_time(lake, version, items)
    return ScannedLog(events=events, items=items, vectors=vectors, version=version)


def read_log(settings: Settings, version: str | None = None) -> Log:
    """Return all of `scan_log`, for what needs it in memory."""
    return scan_log(settings, version).read()
