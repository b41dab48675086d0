"""Export the match features that rankers are trained on, day by day."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from catalog.atomic_file import write_atomically
from catalog.lake.tables import EMBEDDINGS, EVENTS, ITEM_VERSIONS, ITEMS
from features.centred_embeddings import CentredEmbeddings
from features.export import Export
from features.export_card import card
from features.groups import FeatureGroup, groups_named
from features.pages import PageCounts
from features.reference import DEFAULT, Reference
from features.request_store import EventReader
from features.requests import whole_requests
from features.served import as_served as served_rows
from features.served import folder_of
from features.table import FeatureConfig, FeatureTable, build_features
from ponder.settings import Settings
from ponder.steps.days import ALL_DAYS, Days, days_between
from ponder.steps.feature_references import reference_in_use
from ponder.steps.progress import Progress, ignore_progress
from ponder.telemetry.observation import observed
from ponder.telemetry.step_metrics import StepMetrics
from ponder.wiring.allocator import share_one_arena
from ponder.wiring.artifacts import sharing
from ponder.wiring.codes import with_codes
from ponder.wiring.counts import DailyCounts
from ponder.wiring.feature_log import ScannedLog, scan_log
from ponder.wiring.requests import opened_requests
from ponder.wiring.stores import open_lake
from ranker.training_rows import NothingToLearn
from ranker.training_table import Protocol, TrainingRequests

__all__ = [
    "Days",
    "ExportedFeatures",
    "NothingToLearn",
    "days_between",
    "export_days",
    "export_features",
    "plan_export",
]

ROWS_AT_ONCE = 100_000
"""Whose features are made at once: of as many days as have so many rows, or of a part of one."""

SOURCES = (EVENTS, ITEMS, ITEM_VERSIONS, EMBEDDINGS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFeatures:
    """What an export holds."""

    model_version: str

    schema_hash: str
    """Of the features, their order, their meaning and their configuration."""

    reference: str
    """Name and number of what they are measured against."""

    num_rows: int
    """An item of a request each; of all days that are there."""

    num_days: int

    made: int
    """Days that were written by this export; the others cannot have changed."""

    protocol: Protocol
    """What a request is: a page shown, or a liked item among what stage one would have offered."""

    pages: PageCounts
    """What the log's impressions came to, and what was left out by reason."""


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """What the days of an export are made of."""

    log: ScannedLog
    asked: TrainingRequests
    reference: Reference
    export: Export
    config: FeatureConfig


def _count(metrics: StepMetrics, done: ExportedFeatures) -> None:
    metrics.features.count(rows=done.num_rows, days=done.num_days, made=done.made)


@sharing("features", "served")
@observed("features", count=_count, skips=(NothingToLearn,))
def export_features(
    settings: Settings,
    *,
    days: Days = ALL_DAYS,
    version: str | None = None,
    groups: tuple[FeatureGroup, ...] | None = None,
    reference: str = DEFAULT,
    folder: Path | None = None,
    again: bool = False,
    as_served: bool = False,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> ExportedFeatures:
    """Write the match features of requests to the export folder, one partition a day.

    An export that was stopped goes on with the next day. Days of the folder that are not meant
    stay, if they were made alike.

    Args:
        settings: the deployment.
        days: whose requests are exported.
        version: model version that all vectors are of, also those of requests that another one
            served; the configured one when None.
        groups: of features that are made, in the order of `features.groups.GROUPS`; those of the
            settings when None.
        reference: name of what the features are measured against; made, if there is none yet.
        folder: to write to; the deployment's when None, which rankers are trained on.
        again: also make days that have settled, after events were corrected by hand.
        as_served: not made again: as the service computed them, where it kept them; see
            `features.served`. Needs a folder of its own.
        seed: of the pairs that the edges of a new reference are measured on.
        progress: told how many more rows are done.

    Raises:
        NothingToLearn: the log holds no requests.
        ValueError: none of the days has any, or features as served have no folder of their own.
    """
    if as_served and folder is None:
        raise ValueError("an export as served must have a folder of its own; name one with --out")
    config = FeatureConfig(groups=groups or groups_named(settings.feature_set))
    to = folder or settings.features_folder
    with _prepared(settings, version, config, reference, to, seed=seed) as prepared:
        done = _write(settings, prepared, days, again=again, as_served=as_served, progress=progress)
    del prepared  # with it what was liked together, which is counted anew: one at a time
    if folder is None:
        DailyCounts(open_lake(settings), to, with_swing=config.with_swing).recount()
    return done


def _write(
    settings: Settings,
    prepared: _Prepared,
    days: Days,
    *,
    again: bool,
    as_served: bool,
    progress: Progress,
) -> ExportedFeatures:
    """Write the days that are meant, and put the manifest in place."""
    export, asked, used = prepared.export, prepared.asked, prepared.reference
    if oddities := asked.pages.oddities():
        counts = " ".join(f"{name}={count}" for name, count in oddities.items())
        logger.warning("pages of the event log, left out or mended: %s", counts)
    about = _about(settings, prepared)
    if as_served:
        made, num_missing = _write_served(settings, prepared, days, progress=progress)
        about |= {"vectors": "as served"}
        about["left_out"] = about["left_out"] | {"not_served": num_missing}
    else:
        made = _write_days(prepared, days, again=again, progress=progress)
    manifest = export.finish(about)
    write_atomically(export.folder / "README.md", card(manifest))
    return ExportedFeatures(
        model_version=manifest["model_version"],
        schema_hash=manifest["schema_hash"],
        reference=f"{used.name}/{used.number}",
        num_rows=manifest["num_rows"],
        num_days=len(manifest["partitions"]),
        made=made,
        protocol=asked.protocol,
        pages=asked.pages,
    )


@sharing("features")
def export_days(settings: Settings, days: Days, *, again: bool = False) -> int:
    """Write days of the export and leave its manifest as it is; return how many were written.

    Several processes may write different days at once. `export_features` puts the manifest in
    place afterwards.

    Raises:
        NothingToLearn: the log holds no requests.
    """
    with _prepared(settings) as prepared:
        return _write_days(prepared, days, again=again, progress=ignore_progress)


@sharing("features")
def plan_export(settings: Settings, days: Days = ALL_DAYS, *, again: bool = False) -> list[Days]:
    """Return the days that are to be made, in parts of `ROWS_AT_ONCE` rows, for `export_days`.

    The reference is made, if there is none yet: that is not for several at once.

    Raises:
        NothingToLearn: the log holds no requests.
    """
    with _prepared(settings) as prepared:
        due = _due(prepared, _centred(prepared), days, again=again)
    return [Days(first=part[0], last=part[-1]) for part in _parts(due)]


@contextmanager
def _prepared(
    settings: Settings,
    version: str | None = None,
    config: FeatureConfig | None = None,
    reference: str = DEFAULT,
    folder: Path | None = None,
    *,
    seed: int = 0,
) -> Iterator[_Prepared]:
    share_one_arena()
    log = scan_log(settings, version)
    config = config or FeatureConfig(groups=groups_named(settings.feature_set))
    with opened_requests(settings, log, config.groups) as asked:
        used = reference_in_use(settings, log, asked, reference, config.groups, seed=seed)
        if "codes" in config.groups:
            log = replace(log, vectors=with_codes(settings, log.vectors, used.centring.codes_id))
        to = folder or settings.features_folder
        export = Export(to, config.features, used.centring, config.plain)
        yield _Prepared(log, asked, used, export, config)


def _centred(prepared: _Prepared) -> CentredEmbeddings:
    return CentredEmbeddings.of(prepared.log.vectors, prepared.export.centring)


def _write_days(prepared: _Prepared, days: Days, *, again: bool, progress: Progress) -> int:
    """Write the days that are meant and can have changed; return how many."""
    centred, reader = _centred(prepared), prepared.asked.store.reader()
    due = _due(prepared, centred, days, again=again)
    _drop_other_days(prepared, days)
    settled = _settled(prepared.asked)
    for part in _parts(due):
        requests = prepared.asked.store.requests_between(part[0], part[-1])
        requests = requests.filter(pl.col("ts").dt.date().is_in(part))
        table = _features(prepared, requests, centred, reader)
        for (day,), frame in table.frame.group_by(pl.col("ts").dt.date(), maintain_order=True):
            prepared.export.write_day(table.with_frame(frame), settled=day in settled)
        progress(len(requests))
    return len(due)


def _write_served(
    settings: Settings, prepared: _Prepared, days: Days, *, progress: Progress
) -> tuple[int, int]:
    """Write the rows of the days that were served; return how many days, and rows that were not."""
    export, names = prepared.export, [feature.name for feature in prepared.export.features]
    config = prepared.config
    folder = folder_of(settings.served_folder, config.schema_hash, export.centring)
    settled = _settled(prepared.asked)
    made, num_missing = 0, 0
    for day, num_rows in prepared.asked.store.num_rows().items():
        if day not in days:
            continue
        requests = prepared.asked.store.requests_between(day, day)
        rows = served_rows(requests, folder, names)
        num_missing += num_rows - len(rows)
        if rows.is_empty():
            export.drop_day(day)
            continue
        table = FeatureTable(rows, export.features, export.centring, config.plain)
        export.write_day(table, settled=day in settled)
        made += 1
        progress(num_rows)
    if not made:
        raise ValueError(
            f"some requests must have been served with these features, got none in {folder}; set "
            "PONDER_KEEP_SERVED_FEATURES where the service runs, and log what it showed"
        )
    return made, num_missing


def _features(
    prepared: _Prepared, requests: pl.DataFrame, centred: CentredEmbeddings, reader: EventReader
) -> FeatureTable:
    """Return the features of requests in order of time, made of some at a time."""
    log, tables = prepared.log, []
    for rows in whole_requests(requests, ROWS_AT_ONCE):
        known = reader.known_before(rows)
        tables.append(
            build_features(
                rows,
                known.events,
                log.items,
                log.vectors,
                config=prepared.config,
                centred=centred,
                counts=prepared.asked.counts,
                earlier=known.earlier,
            )
        )
    return tables[0].with_frame(pl.concat(table.frame for table in tables))


def _due(
    prepared: _Prepared, centred: CentredEmbeddings, days: Days, *, again: bool
) -> dict[date, int]:
    """Return how many rows each day has that is meant and can have changed, in order of days."""
    settled = _settled(prepared.asked)
    return {
        day: num_rows
        for day, num_rows in prepared.asked.store.num_rows().items()
        if day in days
        and (again or day not in settled or not _is_done(prepared, centred, day, num_rows))
    }


def _settled(asked: TrainingRequests) -> set[date]:
    now = datetime.now(UTC)
    return {day for day, at in asked.settling.iter_rows() if at <= now}


def _is_done(prepared: _Prepared, centred: CentredEmbeddings, day: date, num_rows: int) -> bool:
    """Return whether a settled day is there, made when it had settled and had all its vectors."""
    done = prepared.export.written(day)
    if done is None or not done.settled or done.num_rows != num_rows:
        return False
    if "match" not in prepared.config.groups:
        return True  # there is no column that says which rows have a vector
    requests = prepared.asked.store.requests_between(day, day)
    num_with_vector = (centred.rows_of(centred.names_at(requests)) >= 0).sum()
    return done.num_with_vector == num_with_vector


def _drop_other_days(prepared: _Prepared, days: Days) -> None:
    """Forget days that have no requests any more."""
    there = prepared.asked.store.num_rows()
    for path in prepared.export.folder.glob("date=*"):
        day = date.fromisoformat(path.name[5:])
        if day in days and day not in there:
            prepared.export.drop_day(day)


def _parts(due: Mapping[date, int]) -> Iterator[list[date]]:
    """Yield days that are made at once."""
    part: list[date] = []
    num_rows = 0
    for day, rows in due.items():
        if part and num_rows + rows > ROWS_AT_ONCE:
            yield part
            part, num_rows = [], 0
        part.append(day)
        num_rows += rows
    if part:
        yield part


def _about(settings: Settings, prepared: _Prepared) -> dict[str, Any]:
    lake, used, asked = open_lake(settings), prepared.reference, prepared.asked
    return {
        "vectors": f"recomputed with {used.centring.model_version}",
        "reference": {
            "name": used.name,
            "number": used.number,
            "id": used.id,
            "first_ts": used.first_ts,
            "last_ts": used.last_ts,
            "num_items": used.num_items,
        },
        "set": list(prepared.config.groups),
        "protocol": asked.protocol,
        "source": {table.name: lake.version(table) for table in SOURCES},
        "left_out": asked.pages.oddities(),
    }
