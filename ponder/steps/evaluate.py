"""Evaluate recall of the configured version, without a ranker."""

from pathlib import Path

import polars as pl

from catalog.lake.tables import EVENTS
from ponder.settings import Settings
from ponder.steps.land import Counts
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.saved_reports import write_report
from ponder.wiring import configured_version, living_vectors, open_encoder, open_lake


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
