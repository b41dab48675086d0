"""How the deployment stands, as metrics: what is live, how fresh the lake is, what disk is left.

Read from the lake after each step, whichever machine the step ran on; what is told replaces what
was told before.
"""

import shutil
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from catalog.lake.index_versions import IndexVersion, IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.maintenance import history
from catalog.lake.tables import EMBEDDINGS, EVENTS, ITEMS

TABLES = (ITEMS, EVENTS, EMBEDDINGS)


def deployment_metrics(lake: Lake, folder: Path) -> CollectorRegistry:
    """Return metrics of a lake's state and of the disk that a folder lies on.

    Args:
        lake: read.
        folder: the home; need not exist yet.
    """
    registry = CollectorRegistry()
    known = IndexVersions(lake)
    live = known.live()
    served = None if live is None else known.of(live)
    is_live = Gauge("ponder_live", "Whether a version is live: 1 or 0.", registry=registry)
    is_live.set(served is not None)
    if served is not None:
        _tell_live(registry, served)
    written = Gauge(
        "ponder_table_written_timestamp_seconds", "When a table of the lake last changed.",
        ["table"], registry=registry,
    )  # fmt: skip
    for table in TABLES:
        for commit in history(lake, table, limit=1):
            written.labels(table.name).set(commit.at.timestamp())
    free = Gauge("ponder_disk_free_bytes", "Where the home lies.", registry=registry)
    size = Gauge("ponder_disk_bytes", "Where the home lies.", registry=registry)
    usage = shutil.disk_usage(_existing(folder))
    free.set(usage.free)
    size.set(usage.total)
    return registry


def _tell_live(registry: CollectorRegistry, served: IndexVersion) -> None:
    by_version = ["version"]
    version = Gauge(
        "ponder_live_version", "Which version is live: always 1.", by_version, registry=registry
    )
    version.labels(served.version).set(1)
    items = Gauge(
        "ponder_live_items", "Items of the live collection.", by_version, registry=registry
    )
    items.labels(served.version).set(served.num_items)
    alarms = Gauge(
        "ponder_live_alarms", "What the last validation found against it.", by_version,
        registry=registry,
    )  # fmt: skip
    alarms.labels(served.version).set(len(served.problems))
    moments = Gauge(
        "ponder_live_timestamp_seconds", "When the live version was last `filled`, `validated`, "
        "and when it went `live`.", ["version", "what"], registry=registry,
    )  # fmt: skip
    told: dict[str, datetime | None] = {
        "filled": served.filled_at,
        "validated": served.validated_at,
        "live": served.live_at,
    }
    for what, moment in told.items():
        if moment is not None:
            moments.labels(served.version, what).set(moment.timestamp())


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())
