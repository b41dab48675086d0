"""What features are made from, read from the lake as it was known when."""

import polars as pl

from catalog.lake.item_versions import DESCRIBED
from catalog.lake.tables import EVENTS, ITEM_VERSIONS, ITEMS, LANDED_AT, TIME
from features.landings import Landings, item_histories
from features.log import Log
from ponder.settings import Settings
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake
from ponder.wiring.vectors import vectors_over_time


def read_log(settings: Settings, version: str | None = None) -> Log:
    """Return what a ranker may learn from: as it was known when, vectors of one version.

    Args:
        settings: the deployment.
        version: model version of the vectors; the configured one when None.
    """
    lake = open_lake(settings)
    events = lake.scan_landed(EVENTS).collect()
    versions = lake.read(ITEM_VERSIONS)
    if settings.landings_from is not None:
        together = pl.max_horizontal(LANDED_AT, pl.lit(settings.landings_from, TIME))
        landed = pl.when(pl.col(LANDED_AT).is_not_null()).then(together)
        events, versions = events.with_columns(landed), versions.with_columns(landed)
    items = item_histories(versions, lake.read(ITEMS, DESCRIBED), Landings.of(events))
    vectors = vectors_over_time(lake, version or configured_version(settings), items)
    return Log(events, items, vectors)
