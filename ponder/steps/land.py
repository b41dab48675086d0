"""Land items and events in the lake, and send a folder's to Kafka."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server

from catalog.ingest.report import LandingReport
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.telemetry.observation import observe, observed
from ponder.telemetry.step_metrics import StepMetrics
from ponder.wiring.stores import image_config, kafka_config, message_decoders, open_lake

if TYPE_CHECKING:
    from catalog.kafka.metrics import ConsumerReport
    from catalog.kafka.publish import Published


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionLanding:
    """How far one partition has been landed."""

    topic: str
    partition: int

    position: int | None
    """Offset of the first message not landed yet; None while none ever was."""

    high_water: int | None
    """Offset that the next message will get, as of the last fetch; None before the first one."""

    lag: int | None
    """Messages not landed yet; None while that is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaLanding(LandingReport):
    """What a landing from the topics read and wrote, and where it stands."""

    missed: int
    """Offsets that the brokers had deleted before they were landed."""

    restarted: int
    """Partitions landed again from the beginning, because their log was replaced or cut."""

    elapsed_s: float
    """From the first message that came to the end of the last write."""

    messages_per_s: float
    """Messages landed or rejected in a second; 0 when none came."""

    partitions: tuple[PartitionLanding, ...]
    """Those that were this consumer's at the end, by topic and number."""

    @classmethod
    def of(cls, report: "ConsumerReport") -> "KafkaLanding":
        """Return the landing that a consumer reports, its times rounded."""
        return cls(
            **{field.name: getattr(report.landed, field.name) for field in fields(LandingReport)},
            missed=report.missed,
            restarted=report.restarted,
            elapsed_s=round(report.elapsed_s, 3),
            messages_per_s=round(report.messages_per_s, 1),
            partitions=tuple(
                PartitionLanding(
                    topic=each.topic,
                    partition=each.partition,
                    position=each.position,
                    high_water=each.high_water,
                    lag=each.lag,
                )
                for each in report.partitions
            ),
        )


def _count(metrics: StepMetrics, landed: LandingReport) -> None:
    metrics.landing.count("folder", landed)


@observed("land", count=_count)
def land_folder(
    settings: Settings,
    folder: Path,
    *,
    snapshot: bool = False,
    max_delete_share: float = 0.1,
    progress: Progress = ignore_progress,
) -> LandingReport:
    """Land a data folder: JSON Lines, Parquet or MovieLens.

    Args:
        settings: the deployment.
        folder: recognised by its files.
        snapshot: the folder holds the whole catalogue, so what it lacks is deleted; always so for
            MovieLens, whose files have no other way to say it.
        max_delete_share: a snapshot that would delete a larger share of the items is refused.
        progress: told how many more records were read.
    """
    from catalog.ingest.landing import land
    from catalog.ingest.source import open_source

    source = open_source(folder, snapshot=snapshot)
    return land(
        source,
        open_lake(settings),
        image_config=image_config(settings),
        max_delete_share=max_delete_share,
        progress=progress,
    )


def land_kafka(
    settings: Settings,
    *,
    follow: bool = False,
    stop: Event | None = None,
    timeout_s: float | None = 600.0,
    metrics_port: int | None = None,
    progress: Progress = ignore_progress,
) -> KafkaLanding:
    """Land what waits in the Kafka topics.

    Args:
        settings: the deployment.
        follow: go on at the end of the topics.
        stop: ends the reading when set; what was read is landed first.
        timeout_s: wall-clock seconds after which no more is read; None sets no limit.
        metrics_port: serves Prometheus metrics on all interfaces meanwhile; None serves none.
        progress: told how many more messages were landed.

    Raises:
        ValueError: no brokers are set.
    """
    from catalog.kafka.consumer import consume

    config = kafka_config(settings)
    with observe(settings, "land") as seen, _served(seen.metrics.registry, metrics_port):
        report = consume(
            config,
            open_lake(settings),
            follow=follow,
            stop=stop,
            timeout_s=timeout_s,
            image_config=image_config(settings),
            decoders=message_decoders(settings),
            metrics=seen.metrics.landing,
            progress=progress,
        )
        seen.result = KafkaLanding.of(report)
    return seen.result


@contextmanager
def _served(registry: CollectorRegistry, port: int | None) -> Iterator[None]:
    """Serve metrics on a port meanwhile; None: do not."""
    if port is None:
        yield
        return
    server, _ = start_http_server(port, registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def publish(settings: Settings, folder: Path) -> "Published":
    """Send a folder's items and events to the Kafka topics, images inline.

    Raises:
        ValueError: no brokers are set.
    """
    from catalog.ingest.source import open_source
    from catalog.kafka.publish import publish

    return publish(open_source(folder), kafka_config(settings))
