"""How far a landing is behind its topics, as numbers and as Prometheus metrics."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from catalog.ingest.report import LandingReport


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionLag:
    """How far one partition has been landed."""

    topic: str
    partition: int

    position: int | None
    """Offset of the first message not landed yet; None while none ever was."""

    high_water: int | None
    """The high watermark, as of the last fetch; None before the first one."""

    @property
    def lag(self) -> int | None:
        """Messages not landed yet, at most: offsets of a compacted topic have gaps."""
        if self.high_water is None:
            return None
        return max(self.high_water - (self.position or 0), 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumerReport:
    """What came of reading the topics."""

    landed: LandingReport = field(default_factory=LandingReport)

    partitions: tuple[PartitionLag, ...] = ()
    """The partitions that were this consumer's at the end, by topic and number."""

    missed: int = 0
    """Offsets that the brokers had deleted before they were landed."""

    restarted: int = 0
    """Partitions landed again from the beginning, because their log was replaced or cut."""

    elapsed_s: float = 0.0
    """From the first message that came to the end of the last write."""

    @property
    def messages_per_s(self) -> float:
        """Messages landed or rejected in a second; 0 when none came."""
        return self.landed.consumed / self.elapsed_s if self.elapsed_s else 0.0


class LandingMetrics:
    """Prometheus metrics of a landing; one set per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by_topic, by_partition = ("topic",), ("topic", "partition")
        self._messages = Counter(
            "ponder_land_messages", "Messages landed or rejected.", by_topic, registry=registry
        )
        self._rejected = Counter(
            "ponder_land_rejected", "Messages that became dead letters.", by_topic,
            registry=registry,
        )  # fmt: skip
        self._rows = Counter(
            "ponder_land_rows", "Rows of the lake, by what a landing did to them.", ("change",),
            registry=registry,
        )  # fmt: skip
        self._write_s = Histogram(
            "ponder_land_write_seconds", "Time of one write to the lake.", by_topic,
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300), registry=registry,
        )  # fmt: skip
        self._commit_failures = Counter(
            "ponder_land_offset_commit_failures",
            "Offsets that the brokers did not take; the lake has them.",
            registry=registry,
        )
        self._last_write = Gauge(
            "ponder_land_last_write_timestamp_seconds", "When the lake was last written.", by_topic,
            registry=registry,
        )  # fmt: skip
        self._position = Gauge(
            "ponder_land_position", "First offset not landed.", by_partition, registry=registry
        )
        self._lag = Gauge(
            "ponder_land_lag", "Messages not landed yet.", by_partition, registry=registry
        )

    def count_write(self, topic: str, report: LandingReport, *, elapsed_s: float) -> None:
        """Count a write."""
        self.count(topic, report)
        self._write_s.labels(topic).observe(elapsed_s)
        self._last_write.labels(topic).set_to_current_time()

    def count(self, topic: str, report: LandingReport) -> None:
        """Count what was landed; of a folder the topic is `folder`."""
        self._messages.labels(topic).inc(report.consumed)
        self._rejected.labels(topic).inc(report.rejected.total())
        for change in ("inserted", "updated", "deleted"):
            self._rows.labels(f"item_{change}").inc(getattr(report.items, change))
        self._rows.labels("event").inc(report.events)

    def count_refused_commit(self) -> None:
        """Count a failed commit of offsets."""
        self._commit_failures.inc()

    def set_lags(self, partitions: Iterable[PartitionLag]) -> None:
        """Show these partitions and no others."""
        self._position.clear()
        self._lag.clear()
        for each in partitions:
            labels = (each.topic, str(each.partition))
            if each.position is not None:
                self._position.labels(*labels).set(each.position)
            if each.lag is not None:
                self._lag.labels(*labels).set(each.lag)
