"""The pipeline's steps, each a function of settings and plain values.

The command line and the DAGs call these and nothing else, so a night run by Airflow and one run by
hand end the same. Every step may be run again at any time: it finds what is left to do, and what is
done already is not done twice.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, EVENTS, ITEMS
from ponder.settings import Settings
from ponder.steps.embed import embed_shard
from ponder.wiring import (
    configured_version,
    embedded_keys,
    failed_keys,
    kafka_config,
    known_vectors,
    living_vectors,
    media_config,
    open_encoder,
    open_index,
    open_lake,
    open_recall,
)

if TYPE_CHECKING:
    from catalog.ingest.report import LandingReport
    from ponder.steps.rank import Log

logger = logging.getLogger(__name__)

Counts = dict[str, Any]
Progress = Callable[[int], None]


class ValidationFailed(RuntimeError):
    """A filled collection must not go live; the text lists why, and the live one stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is left to embed."""

    model_version: str
    num_items: int

    num_failed: int
    """Items left out because the version has failed to embed them as they are; see
    `catalog.lake.embedding_failures`."""

    shards: list[tuple[str, str]]
    """First and last item_id of each shard. A shard names a range and not its content, so that a
    retry finds only what is left of it."""


def ignore_progress(done: int) -> None:
    """Takes no notice."""


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


def plan(settings: Settings) -> Plan:
    """What the configured model version has not embedded yet, in shards."""
    from embedder.plan import plan, shards

    version = configured_version(settings)
    lake = open_lake(settings)
    items = lake.read(ITEMS, ["item_id", "content_hash", "deleted"])
    missing = plan(items, embedded_keys(lake, version), model_version=version)
    todo = plan(missing, failed_keys(lake, version), model_version=version)
    ranges = [
        (shard["item_id"][0], shard["item_id"][-1])
        for shard in shards(todo, shard_size=settings.shard_size)
    ]
    logger.info("planned version=%s items=%d shards=%d", version, len(todo), len(ranges))
    return Plan(
        model_version=version,
        num_items=len(todo),
        num_failed=len(missing) - len(todo),
        shards=ranges,
    )


def embed(
    settings: Settings, shard: tuple[str, str], *, progress: Progress = ignore_progress
) -> Counts:
    """Embeds what is left of a shard and writes embeddings and rationales to the lake.

    An item that cannot be embedded goes to `dead_letters` with the reason, and is left alone until
    its content changes or the letter is replayed.
    """
    lake, encoder = open_lake(settings), open_encoder(settings)
    return embed_shard(lake, encoder, shard, progress=progress)


def index(settings: Settings) -> Counts:
    """Makes the configured version's collection equal to the lake; nobody queries it yet."""
    version = configured_version(settings)
    rows = living_vectors(open_lake(settings), version)
    if rows.is_empty():
        raise ValueError(f"version {version!r} has embedded no living item; land and embed first")
    with open_index(settings) as milvus:
        report = milvus.sync(version, rows, dim=len(rows["vector"][0]))
    return {"model_version": version, **asdict(report)}


def validate(settings: Settings, *, sample: int = 200, seed: int = 0) -> Counts:
    """Judges the configured version's collection.

    Raises:
        ValidationFailed: it must not go live.
    """
    from recall.validation import validate

    version = configured_version(settings)
    rows = living_vectors(open_lake(settings), version)
    with open_index(settings) as milvus:
        validation = validate(milvus, version, rows, sample=sample, seed=seed)
    if not validation.passed:
        raise ValidationFailed(f"version {version!r}: " + "; ".join(validation.problems))
    return asdict(validation)


def promote(settings: Settings) -> Counts:
    """Serves the configured version from now on."""
    version = configured_version(settings)
    with open_index(settings) as milvus:
        before = milvus.live_version()
        milvus.promote(version)
    return {"live": version, "before": before}


def rollback(settings: Settings) -> Counts:
    """Serves the version that was live before."""
    with open_index(settings) as milvus:
        return {"live": milvus.rollback()}


def export_features(settings: Settings, *, seed: int = 0) -> Counts:
    """Writes the match features of every request to the export folder, one partition a day."""
    from features.export import write_export
    from ponder.steps.rank import training_table

    manifest = write_export(training_table(_log(settings), seed=seed), settings.features_folder)
    return {name: manifest[name] for name in ("model_version", "schema_hash", "num_rows")}


def train_ranker(
    settings: Settings, *, seed: int = 0, progress: Progress = ignore_progress
) -> Counts:
    """Trains rankers with and without match features on the export, compares and keeps them.

    The comparison goes to `ranking.json` in the reports folder; the ranker that is kept is trained
    on all requests, the test's as well.
    """
    from features.export import read_export
    from ponder.steps.rank import judge
    from ranker.model import train

    table = read_export(settings.features_folder)
    report = judge(_log(settings), table, seed=seed, progress=progress)
    train(table).save(settings.ranker_folder)
    write_report(settings, "ranking", report)
    return report


def evaluate(
    settings: Settings, queries: Path | None = None, *, progress: Progress = ignore_progress
) -> Counts:
    """Judges the configured version's recall and writes `recall.json` to the reports folder.

    Args:
        settings: the deployment.
        queries: a `queries.jsonl`; None judges users' histories only.
        progress: told how many queries were judged.
    """
    from evaluation.query_sets import Catalogue, evaluate_histories, evaluate_queries, read_queries

    version = configured_version(settings)
    lake = open_lake(settings)
    living = living_vectors(lake, version)
    with_image = living.filter(pl.col("image_hash").is_not_null())
    report: Counts = {"model_version": version}
    events = lake.read(EVENTS)
    if len(events):
        report["histories"] = evaluate_histories(events, Catalogue.of(with_image))
    if queries is not None:
        encoder = open_encoder(settings)
        report["queries"] = evaluate_queries(
            read_queries(queries),
            Catalogue.of(living),
            encoder,
            dims=encoder.dims,
            progress=progress,
        )
    write_report(settings, "recall", report)
    return report


def write_report(settings: Settings, name: str, report: Counts) -> None:
    """Keeps a report as JSON in the reports folder."""
    settings.reports_folder.mkdir(parents=True, exist_ok=True)
    path = settings.reports_folder / f"{name}.json"
    path.write_text(json.dumps(report, indent=1, default=str) + "\n")


def _log(settings: Settings) -> "Log":
    from ponder.steps.rank import Log

    lake = open_lake(settings)
    vectors = known_vectors(lake, configured_version(settings))
    return Log(lake.read(EVENTS), lake.read(ITEMS), vectors)


def recall(settings: Settings, request: dict[str, Any]) -> Counts:
    """What the live version answers to a request of the recall service, with titles.

    Raises:
        ValueError: the request is not one; see `serving.requests.RecallRequest`.
        LookupError: the item or user is not known.
        RuntimeError: no version is live, or another one than the configured model's.
    """
    from serving.requests import RecallReply, RecallRequest
    from serving.service import answer

    asked = RecallRequest.model_validate(request)
    if asked.kind == "content":
        open_encoder(settings)  # so that `took_ms` is the query's time and not the model's loading
    with open_index(settings) as milvus:
        candidates = answer(open_recall(settings, milvus), asked)
    reply = RecallReply.of(candidates).model_dump()
    ids = candidates.frame["item_id"].to_list()
    found = open_lake(settings).scan(ITEMS).filter(pl.col("item_id").is_in(ids)).collect()
    titles = dict(zip(found["item_id"], found["title"], strict=True))
    for candidate in reply["candidates"]:
        candidate["title"] = titles.get(candidate["item_id"]) or ""
    return reply


def serve(settings: Settings, *, host: str, port: int) -> None:
    """Answers recall requests over HTTP until it is stopped; loads the model before it listens."""
    import uvicorn

    from serving.service import create_app

    open_encoder(settings)
    with open_index(settings) as milvus:
        app = create_app(open_recall(settings, milvus))
        uvicorn.run(app, host=host, port=port, log_level="warning")


def status(settings: Settings) -> Counts:
    """What the deployment holds: rows of every table, versions, and what is left to embed."""
    lake = open_lake(settings)
    items = lake.read(ITEMS, ["item_id", "deleted"])
    with open_index(settings) as milvus:
        versions = {version: milvus.count(version) for version in milvus.versions()}
        live, previous = milvus.live_version(), milvus.previous_version()
    return {
        "items": len(items) - items["deleted"].sum(),
        "deleted_items": items["deleted"].sum(),
        "events": len(lake.read(EVENTS, ["event_id"])),
        "dead_letters": len(lake.read(DEAD_LETTERS, ["topic"])),
        "embeddings": len(lake.read(EMBEDDINGS, ["item_id"])),
        "left_to_embed": plan(settings).num_items,
        "indexed": versions,
        "live": live,
        "previous": previous,
    }


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
