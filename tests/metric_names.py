"""The metrics that steps, landings and the service tell, asked of the code that tells them."""

import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from catalog.ingest.report import LandingReport
from catalog.kafka.metrics import PartitionLag
from catalog.lake.index_versions import IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS
from ponder.telemetry.deployment_metrics import deployment_metrics
from ponder.telemetry.step_metrics import StepMetrics
from serving.live_validation import LiveValidation
from serving.metrics import ServingMetrics

SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "gauge": ("",),
}
"""What Prometheus appends to the names of each kind."""


def batch_families():
    """Every metric of batch steps and of the deployment, by name."""
    metrics = StepMetrics("any")
    metrics.end("done", seconds=1.0)
    lag = PartitionLag(topic="items", partition=0, position=0, high_water=1)
    metrics.landing.count_write("items", LandingReport(), elapsed_s=1.0)
    metrics.landing.set_lags([lag])
    metrics.planning.tell(items=0, failed=0)
    metrics.auditing.tell({"any": 0})
    metrics.embedding.count(
        direct=1, reasoned=0, fallbacks=0, failed=0, rationale_tokens=0, seconds=0, memory_bytes=0
    )
    metrics.indexing.count(upserted=0, deleted=0, held=0)
    metrics.features.count(rows=0, days=0, made=0)
    with tempfile.TemporaryDirectory() as folder:
        lake, now = Lake(f"{folder}/lake"), datetime.now(UTC)
        lake.set_transactions(EVENTS, {"any": 1})
        IndexVersions(lake).record("v1", filled_at=now, validated_at=now, num_items=1)
        IndexVersions(lake).switch_to("v1")
        standing = deployment_metrics(lake, Path(folder))
    return by_name(metrics.registry) | by_name(standing)


def service_families():
    """Every metric of the service but those that tell how many threads are free."""
    metrics = ServingMetrics()
    encoder = SimpleNamespace(on_joined=None, num_waiting=0, num_under_way=0, stuck_s=lambda: 0.0)
    live = SimpleNamespace(age_s=lambda: 0.0, followed="v1")
    metrics.watch(SimpleNamespace(encoder=encoder, live=live))
    validation = LiveValidation(SimpleNamespace())
    validation._live = SimpleNamespace(
        version="v1", validated_at=datetime.now(UTC), problems=[], measured={}
    )
    metrics.registry.register(validation)
    return by_name(metrics.registry)


def by_name(registry):
    return {family.name: family for family in registry.collect()}


@cache
def names():
    """Every name that a query may use."""
    families = batch_families() | service_families()
    return {
        f"{name}{suffix}" for name, family in families.items() for suffix in SUFFIXES[family.type]
    }
