"""Land items and events in the lake, and send a folder's to Kafka."""

from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.wiring import kafka_config, media_config, open_lake

if TYPE_CHECKING:
    from catalog.ingest.report import LandingReport

Counts = dict[str, Any]


def land_folder(
    settings: Settings,
    folder: Path,
    *,
    snapshot: bool = False,
    max_delete_share: float = 0.1,
    progress: Progress = ignore_progress,
) -> Counts:
    """Lands a data folder: JSON Lines, Parquet or MovieLens.

    Args:
        settings: the deployment.
        folder: recognised by its files.
        snapshot: the folder holds the whole catalogue, so what it lacks is deleted; always so for
            MovieLens, whose files have no other way to say it.
        max_delete_share: a snapshot that would delete a larger share of the items is refused.
        progress: told how many more records were read.

    Returns:
        Counts by name, and the reasons of what was rejected.
    """
    from catalog.ingest.landing import land
    from catalog.ingest.source import open_source

    source = open_source(folder, snapshot=snapshot)
    report = land(
        source,
        open_lake(settings),
        media=media_config(settings),
        max_delete_share=max_delete_share,
        progress=progress,
    )
    return plain_report(report)


def land_kafka(
    settings: Settings,
    *,
    follow: bool = False,
    stop: Event | None = None,
    timeout_s: float | None = 600.0,
    metrics_port: int | None = None,
    progress: Progress = ignore_progress,
) -> Counts:
    """Lands what waits in the Kafka topics.

    Args:
        settings: the deployment.
        follow: go on at the end of the topics.
        stop: ends the reading when set; what was read is landed first.
        timeout_s: wall-clock seconds after which no more is read; None sets no limit.
        metrics_port: serves Prometheus metrics on all interfaces meanwhile; None serves none.
        progress: told how many more messages were landed.

    Returns:
        Counts by name, the reasons of what was rejected, and under `partitions` where each stands.

    Raises:
        ValueError: no brokers are set.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    from catalog.kafka.consumer import consume
    from catalog.kafka.metrics import LandingMetrics

    config, registry = kafka_config(settings), CollectorRegistry()
    server = None if metrics_port is None else start_http_server(metrics_port, registry=registry)
    try:
        report = consume(
            config,
            open_lake(settings),
            follow=follow,
            stop=stop,
            timeout_s=timeout_s,
            media=media_config(settings),
            metrics=LandingMetrics(registry),
            progress=progress,
        )
    finally:
        if server is not None:
            server[0].shutdown()
            server[0].server_close()
    return {
        **plain_report(report.landed),
        "missed": report.missed,
        "restarted": report.restarted,
        "elapsed_s": round(report.elapsed_s, 3),
        "messages_per_s": round(report.messages_per_s, 1),
        "partitions": [asdict(each) | {"lag": each.lag} for each in report.partitions],
    }


def publish(settings: Settings, folder: Path) -> Counts:
    """Sends a folder's items and events to the Kafka topics, images inline.

    Raises:
        ValueError: no brokers are set.
    """
    from catalog.ingest.source import open_source
    from catalog.kafka.publish import publish

    return asdict(publish(open_source(folder), kafka_config(settings)))


def plain_report(report: "LandingReport") -> Counts:
    """A landing's report as plain values."""
    # Not `asdict` of the whole: it would count the pairs of the report's Counter.
    return {
        "consumed": report.consumed,
        "items": asdict(report.items),
        "events": report.events,
        "known_events": report.known_events,
        "images": report.images,
        "dead_letters": report.dead_letters,
        "rejected": dict(report.rejected),
    }
