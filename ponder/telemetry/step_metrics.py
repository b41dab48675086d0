"""What batch steps count, as Prometheus reads it. Every name of theirs is made here.

`LandingMetrics` of `catalog.kafka.metrics` are the landing's, whether it ends or follows.
"""

from collections.abc import Mapping
from functools import cached_property

from prometheus_client import CollectorRegistry, Counter, Gauge

from catalog.kafka.metrics import LandingMetrics

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
"""How a run of a step ends. Skipped: there was nothing to do it with."""


class StepMetrics:
    """The metrics of one run of a step, in a registry of their own.

    Only what a step counts is there, so that no two steps tell the same number.
    """

    def __init__(self, step: str) -> None:
        """Count nothing yet."""
        self.registry = CollectorRegistry()
        self._step = step
        self._runs = Counter(
            "ponder_step_runs", "Runs of a step, by how they ended.", ["step", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self._ended = Gauge(
            "ponder_step_ended_timestamp_seconds", "When a step last ended so.",
            ["step", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._took = Gauge(
            "ponder_step_seconds", "Of the last run that ended so.", ["step", "outcome"],
            registry=self.registry,
        )  # fmt: skip

    def end(self, outcome: str, *, seconds: float) -> None:
        """Count the run."""
        labels = (self._step, outcome)
        self._runs.labels(*labels).inc()
        self._ended.labels(*labels).set_to_current_time()
        self._took.labels(*labels).set(seconds)

    @cached_property
    def landing(self) -> LandingMetrics:
        """Of a landing."""
        return LandingMetrics(self.registry)

    @cached_property
    def auditing(self) -> "AuditMetrics":
        """Of an audit."""
        return AuditMetrics(self.registry)

    @cached_property
    def planning(self) -> "PlanningMetrics":
        """Of what is left to embed."""
        return PlanningMetrics(self.registry)

    @cached_property
    def embedding(self) -> "EmbeddingMetrics":
        """Of encoding."""
        return EmbeddingMetrics(self.registry)

    @cached_property
    def indexing(self) -> "IndexingMetrics":
        """Of the collection."""
        return IndexingMetrics(self.registry)

    @cached_property
    def features(self) -> "FeatureMetrics":
        """Of the export of match features."""
        return FeatureMetrics(self.registry)


class AuditMetrics:
    """Where two places differ that should agree."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._faults = Gauge(
            "ponder_audit_faults", "Rows, items or tables that the last audit found, by fault.",
            ["fault"], registry=registry,
        )  # fmt: skip

    def tell(self, faults: Mapping[str, int]) -> None:
        """Tell what an audit found, also that a fault is gone."""
        for name, number in faults.items():
            self._faults.labels(name).set(number)


class PlanningMetrics:
    """What a night has before it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._items = Gauge(
            "ponder_plan_items", "Items that the configured version has yet to embed.",
            registry=registry,
        )  # fmt: skip
        self._failed = Gauge(
            "ponder_plan_failed_items", "Items left out because embedding them has failed.",
            registry=registry,
        )  # fmt: skip

    def tell(self, *, items: int, failed: int) -> None:
        """Tell what a plan found."""
        self._items.set(items)
        self._failed.set(failed)


class EmbeddingMetrics:
    """How many items were encoded, how, and how long that took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._items = Counter(
            "ponder_embed_items",
            "Items by how they ended: `direct`, `reason`, `fallback` (direct where a rationale was "
            "wanted), `failed`.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self._tokens = Counter(
            "ponder_embed_rationale_tokens", "Tokens that reasoning generated.", registry=registry
        )
        self._seconds = Counter(
            "ponder_embed_seconds",
            "Of encoding and writing, without loading the model; of several processes the sum.",
            registry=registry,
        )
        self._memory = Gauge(
            "ponder_embed_device_memory_peak_bytes", "Of the GPU, by the last run; 0 without one.",
            registry=registry,
        )  # fmt: skip

    def count(
        self,
        *,
        direct: int,
        reasoned: int,
        fallbacks: int,
        failed: int,
        rationale_tokens: int,
        seconds: float,
        memory_bytes: int,
    ) -> None:
        """Count what was embedded."""
        told = {"direct": direct, "reason": reasoned, "fallback": fallbacks, "failed": failed}
        for outcome, number in told.items():
            self._items.labels(outcome).inc(number)
        self._tokens.inc(rationale_tokens)
        self._seconds.inc(seconds)
        self._memory.set(memory_bytes)


class IndexingMetrics:
    """What a sync changed in the collection."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._items = Counter(
            "ponder_index_items", "Items by what was done to them in collections.", ["change"],
            registry=registry,
        )  # fmt: skip
        self._held = Gauge(
            "ponder_index_held_items", "Items of the configured version's collection.",
            registry=registry,
        )  # fmt: skip

    def count(self, *, upserted: int, deleted: int, held: int) -> None:
        """Count a sync."""
        self._items.labels("upserted").inc(upserted)
        self._items.labels("deleted").inc(deleted)
        self._held.set(held)


class FeatureMetrics:
    """What the export of match features holds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows = Gauge("ponder_features_rows", "Of the export.", registry=registry)
        self._days = Gauge("ponder_features_days", "Of the export.", registry=registry)
        self._made = Counter("ponder_features_days_made", "Days written.", registry=registry)

    def count(self, *, rows: int, days: int, made: int) -> None:
        """Count an export."""
        self._rows.set(rows)
        self._days.set(days)
        self._made.inc(made)
