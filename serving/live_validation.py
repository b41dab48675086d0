"""What the last validation of the live version found, as metrics: canaries, drift and freshness."""

import threading
import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from catalog.lake.index_versions import IndexVersion, IndexVersions
from catalog.lake.lake import Lake

MEASURES = (
    *("coverage", "self_retrieval", "canary_cosine", "centroid_cosine", "mean_norm"),
    *("reasoning_rate", "wait_hours", "judged_recall"),
)


class LiveValidation(Collector):
    """Remembers it, so that to ask for metrics reads nothing; `refresh` looks again."""

    def __init__(self, lake: Lake) -> None:
        """Know nothing yet."""
        self._lake = lake
        self._lock = threading.Lock()
        self._live: IndexVersion | None = None

    def refresh(self) -> bool:
        """Look which version is live, and what was found of it; return whether that is new."""
        known = IndexVersions(self._lake)
        live = known.live()
        found = None if live is None else known.of(live)
        with self._lock:
            before, self._live = self._live, found
        return before != found

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Tell it; nothing while no version is live or none was validated."""
        with self._lock:
            live = self._live
        if live is None or live.validated_at is None:
            return
        labels = ["version"]
        passed = GaugeMetricFamily(
            "live_validation_passed", "Whether the last validation was for it.", labels=labels
        )
        passed.add_metric([live.version], float(not live.problems))
        age = GaugeMetricFamily(
            "live_validation_age_seconds", "Since the last validation.", labels=labels
        )
        age.add_metric([live.version], time.time() - live.validated_at.timestamp())
        values = GaugeMetricFamily(
            "live_validation", "What it measured, by name.", labels=["version", "measure"]
        )
        for name in MEASURES:
            if (value := live.measured.get(name)) is not None:
                values.add_metric([live.version, name], value)
        yield from (passed, age, values)
