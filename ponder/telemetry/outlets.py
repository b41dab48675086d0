"""Where a process that ends leaves its metrics: a file for node exporter, or a push gateway."""

import fcntl
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from catalog.atomic_file import write_atomically
from ponder.setting_values import without_password
from ponder.settings import Settings

logger = logging.getLogger(__name__)

JOB = "ponder"
PUSH_TIMEOUT_S = 5.0

ACCUMULATING = ("counter", "histogram", "summary")
"""Kinds of metrics of which a later process adds to what earlier ones told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlets:
    """Where metrics go. What fails here is a warning: no night fails for its numbers."""

    folder: Path | None
    """Where node exporter's textfile collector looks; None: no files."""

    gateway: str
    """Address of a push gateway; empty: none."""

    @classmethod
    def of(cls, settings: Settings) -> "Outlets":
        """Return those of a deployment."""
        folder = Path(settings.metrics_folder) if settings.metrics_folder else None
        return cls(folder=folder, gateway=settings.metrics_gateway)

    def __bool__(self) -> bool:
        return self.folder is not None or bool(self.gateway)

    def publish(self, name: str, registry: CollectorRegistry, *, adds_up: bool) -> None:
        """Publish the metrics of a registry under a name.

        Args:
            name: of the file and of the gateway's group; they replace what was there.
            registry: what is told now.
            adds_up: counters go on from what the file held, and gauges that are not told now stay.
                Processes on several machines then need a folder each, and without a folder a
                counter is that of the last process.
        """
        try:
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"ponder_{name}.prom"
                with _locked(path):
                    told = list(registry.collect())
                    if adds_up:
                        told = added_up(told, _families(path))
                    registry = _registry_of(told)
                    write_atomically(path, generate_latest(registry))
                    path.chmod(0o644)  # node exporter runs as somebody else
            if self.gateway:
                push_to_gateway(self.gateway, JOB, registry, {"step": name}, timeout=PUSH_TIMEOUT_S)
        except (OSError, ValueError) as error:
            reason = without_password(str(error))
            logger.warning("metrics of %s were not published: %s", name, reason)


def _families(path: Path) -> list[Metric]:
    """Return what a file tells; nothing of one that is not there or cannot be read."""
    try:
        return list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []
    except ValueError as error:
        logger.warning("%s was no text of Prometheus, and is begun anew: %s", path, error)
        return []


def added_up(now: Iterable[Metric], before: Iterable[Metric]) -> list[Metric]:
    """Return metrics that go on from earlier ones.

    Of counters and histograms the numbers with the same labels are added; of a gauge the later one
    counts. What only the earlier ones have stays as it was there.
    """
    earlier = {family.name: family for family in before}
    merged = []
    for family in now:
        known = earlier.pop(family.name, None)
        values = {} if known is None else {_key(each): each.value for each in known.samples}
        adds = family.type in ACCUMULATING
        both = Metric(family.name, family.documentation, family.type)
        for sample in family.samples:
            former = values.pop(_key(sample), 0.0)
            value = sample.value + former if adds else sample.value
            both.samples.append(Sample(sample.name, sample.labels, value))
        both.samples += [Sample(name, dict(labels), v) for (name, labels), v in values.items()]
        merged.append(both)
    return [*merged, *earlier.values()]


def _key(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))


class _Told(Collector):
    """Metrics as they are, without the times at which they were made."""

    def __init__(self, told: list[Metric]) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        for family in self._told:
            if family.name.endswith("_created"):
                continue
            family.samples = [each for each in family.samples if not _is_creation(each)]
            yield family


def _is_creation(sample: Sample) -> bool:
    return sample.name.endswith("_created")


def _registry_of(told: list[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Told(told))
    return registry


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time read and write a file."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
