"""Export the match features that rankers are trained on, day by day, and say what exports hold."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from catalog.atomic_file import write_atomically
from catalog.lake.tables import EMBEDDINGS, EVENTS, ITEM_VERSIONS, ITEMS
from features.centred_embeddings import CentredEmbeddings
from features.export import Export
from features.export_card import card
from features.export_contents import Difference, FeatureValues, difference, values_of
from features.log import Log
from features.pages import PageCounts
from features.reference import DEFAULT, Reference, References
from features.schema import FeatureGroup
from features.table import FeatureConfig, build_features
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.wiring.counts import DailyCounts
from ponder.wiring.feature_log import read_log
from ponder.wiring.stores import open_lake
from ranker.training_rows import NothingToLearn
from ranker.training_table import (
    Protocol,
    TrainingRequests,
    measured_centring,
    training_requests_of,
)

__all__ = [
    "Days",
    "ExportedFeatures",
    "NothingToLearn",
    "days_between",
    "describe_export",
    "diff_exports",
    "export_days",
    "export_features",
    "make_reference",
    "plan_export",
    "references",
]

ROWS_AT_ONCE = 200_000
"""Whose features are held at once: as many days as have so many rows, one day at least."""

GROUPS: tuple[FeatureGroup, ...] = ("context", "collaborative", "match")

SOURCES = (EVENTS, ITEMS, ITEM_VERSIONS, EMBEDDINGS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Days:
    """Which days (UTC) are meant."""

    first: date | None = None
    """With it; None: from the first one of the log."""

    last: date | None = None
    """With it; None: to the last one of the log."""

    def __post_init__(self) -> None:
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"the first day must not be after the last, got {self}")

    def __contains__(self, day: date) -> bool:
        return not (self.first and day < self.first) and not (self.last and day > self.last)


ALL_DAYS = Days()


def days_between(first: str | None, last: str | None) -> Days:
    """Return the days between two, with them, written as 2026-03-01; None sets no bound.

    Raises:
        ValueError: one is written otherwise, or the first is after the last.
    """
    return Days(first=_day(first), last=_day(last))


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"a day must be written as 2026-03-01, got {text!r}") from error


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
    """What a request is: a page shown, or a liked item among sampled unseen ones."""

    pages: PageCounts
    """What the log's impressions came to, and what was left out by reason."""


def export_features(
    settings: Settings,
    *,
    days: Days = ALL_DAYS,
    version: str | None = None,
    groups: Sequence[FeatureGroup] = GROUPS,
    reference: str = DEFAULT,
    folder: Path | None = None,
    again: bool = False,
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
        groups: of features that are written.
        reference: name of what the features are measured against; made, if there is none yet.
        folder: to write to; the deployment's when None, which rankers are trained on.
        again: also make days that have settled, after events were corrected by hand.
        seed: of the pairs that the edges of a new reference are measured on.
        progress: told how many more rows are done.

    Raises:
        NothingToLearn: the log holds no requests.
        ValueError: none of the days has any.
    """
    prepared = _prepared(settings, version, groups, reference, folder, seed=seed)
    if oddities := prepared.asked.pages.oddities():
        counts = " ".join(f"{name}={count}" for name, count in oddities.items())
        logger.warning("pages of the event log, left out or mended: %s", counts)
    made = _write_days(prepared, days, again=again, progress=progress)
    export, asked, used = prepared.export, prepared.asked, prepared.reference
    manifest = export.finish(_about(settings, prepared))
    write_atomically(export.folder / "README.md", card(manifest))
    if folder is None:
        DailyCounts(open_lake(settings), export.folder).recount()
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


def export_days(settings: Settings, days: Days, *, again: bool = False) -> int:
    """Write days of the export and leave its manifest as it is; return how many were written.

    Several processes may write different days at once. `export_features` puts the manifest in
    place afterwards.

    Raises:
        NothingToLearn: the log holds no requests.
    """
    prepared = _prepared(settings, None, GROUPS, DEFAULT, None, seed=0)
    return _write_days(prepared, days, again=again, progress=ignore_progress)


def plan_export(settings: Settings, days: Days = ALL_DAYS, *, again: bool = False) -> list[Days]:
    """Return the days that are to be made, in parts of `ROWS_AT_ONCE` rows, for `export_days`.

    The reference is made, if there is none yet: that is not for several at once.

    Raises:
        NothingToLearn: the log holds no requests.
    """
    prepared = _prepared(settings, None, GROUPS, DEFAULT, None, seed=0)
    due = _due(prepared, _centred(prepared), days, again=again)
    return [Days(first=part[0], last=part[-1]) for part in _parts(due)]


def make_reference(
    settings: Settings,
    *,
    name: str = DEFAULT,
    days: Days = ALL_DAYS,
    version: str | None = None,
    seed: int = 0,
) -> Reference:
    """Measure a new reference on the requests of some days, and put it in use under its name.

    Exports and rankers made with the former one are then no longer comparable: export and train.

    Args:
        settings: the deployment.
        name: of the reference.
        days: the window; without a last day all but the newest fifth of the requests, which
            rankers are tested on.
        version: model version of the vectors; the configured one when None.
        seed: of the pairs that the edges of the tiers are measured on.

    Raises:
        NothingToLearn: the log holds no requests.
        ValueError: none of the days has any.
    """
    log = read_log(settings, version)
    asked = training_requests_of(log)
    return References(open_lake(settings)).keep(_measured(log, asked, name, days, seed=seed))


def references(settings: Settings) -> list[Reference]:
    """Return every reference of the lake, in order of name, version and number."""
    return References(open_lake(settings)).all()


def describe_export(settings: Settings, folder: Path | None = None) -> list[FeatureValues]:
    """Return what the values of each feature of an export are.

    Raises:
        ValueError: there is no export.
    """
    return values_of(folder or settings.features_folder)


def diff_exports(one: Path, other: Path) -> Difference:
    """Return in what two exports differ.

    Raises:
        ValueError: one of them is no export.
    """
    return difference(one, other)


def _reference(
    settings: Settings, log: Log, asked: TrainingRequests, name: str, *, seed: int
) -> Reference:
    """Return the reference in use, or make the first one."""
    kept = References(open_lake(settings))
    found = kept.newest(name, log.vectors["model_version"][0])
    if found is None:
        return kept.keep(_measured(log, asked, name, ALL_DAYS, seed=seed))
    num_items = log.vectors["item_id"].n_unique()
    if found.num_items < num_items / 2:
        logger.warning(
            "reference %s/%d was made of %d items, now there are %d; make another one",
            *(found.name, found.number, found.num_items, num_items),
        )
    return found


def _measured(log: Log, asked: TrainingRequests, name: str, days: Days, *, seed: int) -> Reference:
    window = asked.before_test()
    if days.last is not None:
        window = asked.requests.filter(pl.col("ts") < _end_of(days.last))
    if days.first is not None:
        window = window.filter(pl.col("ts") >= _end_of(days.first) - timedelta(days=1))
    if window.is_empty():
        raise ValueError(f"the window of a reference must have requests, got none in {days}")
    centring = measured_centring(log, window, asked.events, seed=seed)
    first, newest = window["ts"].min(), window["ts"].max()
    assert isinstance(first, datetime)
    assert isinstance(newest, datetime)
    return Reference(
        name=name,
        number=0,
        centring=centring,
        first_ts=first,
        last_ts=newest,
        num_items=log.vectors["item_id"].n_unique(),
        made_at=datetime.now(UTC),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """What the days of an export are made of."""

    log: Log
    asked: TrainingRequests
    reference: Reference
    export: Export


def _prepared(
    settings: Settings,
    version: str | None,
    groups: Sequence[FeatureGroup],
    reference: str,
    folder: Path | None,
    *,
    seed: int,
) -> _Prepared:
    log = read_log(settings, version)
    asked = training_requests_of(log)
    used = _reference(settings, log, asked, reference, seed=seed)
    config = FeatureConfig()
    features = tuple(feature for feature in config.features if feature.group in groups)
    export = Export(folder or settings.features_folder, features, used.centring, asdict(config))
    return _Prepared(log, asked, used, export)


def _centred(prepared: _Prepared) -> CentredEmbeddings:
    return CentredEmbeddings.of(prepared.log.vectors, prepared.export.centring)


def _write_days(prepared: _Prepared, days: Days, *, again: bool, progress: Progress) -> int:
    """Write the days that are meant and can have changed; return how many."""
    log, events, centred = prepared.log, prepared.asked.events, _centred(prepared)
    due = _due(prepared, centred, days, again=again)
    _drop_other_days(prepared, days)
    settled = _settled(prepared.asked)
    for part in _parts(due):
        rows = pl.concat([due[day] for day in part])
        table = build_features(
            rows,
            _until(events, rows),
            log.items,
            log.vectors,
            centred=centred,
            counts=prepared.asked.counts,
        )
        for (day,), frame in table.frame.group_by(pl.col("ts").dt.date(), maintain_order=True):
            prepared.export.write_day(table.with_frame(frame), settled=day in settled)
        progress(len(rows))
    return len(due)


def _due(
    prepared: _Prepared, centred: CentredEmbeddings, days: Days, *, again: bool
) -> dict[date, pl.DataFrame]:
    """Return the requests of each day that is meant and can have changed, in order of days."""
    requests = prepared.asked.requests.with_columns(
        pl.col("ts").dt.date().alias("day"),
        pl.Series("has_vector", centred.rows_of(centred.names_at(prepared.asked.requests)) >= 0),
    )
    settled = _settled(prepared.asked)
    in_order = requests.sort("day", maintain_order=True)
    return {
        day: rows.drop("day", "has_vector")
        for (day,), rows in in_order.group_by("day", maintain_order=True)
        if day in days and (again or not (day in settled and _is_done(prepared.export, day, rows)))
    }


def _settled(asked: TrainingRequests) -> set[date]:
    now = datetime.now(UTC)
    return {day for day, at in asked.settling.iter_rows() if at <= now}


def _is_done(export: Export, day: date, rows: pl.DataFrame) -> bool:
    """Return whether a settled day is there, made when it had settled and had all its vectors."""
    done = export.written(day)
    return (
        done is not None
        and done.settled
        and (done.num_rows, done.num_with_vector) == (len(rows), rows["has_vector"].sum())
    )


def _drop_other_days(prepared: _Prepared, days: Days) -> None:
    """Forget days that have no requests any more."""
    there = set(prepared.asked.requests["ts"].dt.date())
    for path in prepared.export.folder.glob("date=*"):
        day = date.fromisoformat(path.name[5:])
        if day in days and day not in there:
            prepared.export.drop_day(day)


def _parts(due: dict[date, pl.DataFrame]) -> Iterator[list[date]]:
    """Yield days that are made at once."""
    part: list[date] = []
    num_rows = 0
    for day, rows in due.items():
        if part and num_rows + len(rows) > ROWS_AT_ONCE:
            yield part
            part, num_rows = [], 0
        part.append(day)
        num_rows += len(rows)
    if part:
        yield part


def _until(events: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the events that any of the requests may know of."""
    return events.filter(pl.col("ts") < rows["ts"].max())


def _about(settings: Settings, prepared: _Prepared) -> dict[str, Any]:
    lake, used, asked = open_lake(settings), prepared.reference, prepared.asked
    groups = {feature.group for feature in prepared.export.features}
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
        "set": [group for group in GROUPS if group in groups],
        "protocol": asked.protocol,
        "source": {table.name: lake.version(table) for table in SOURCES},
        "left_out": asked.pages.oddities(),
    }


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC) + timedelta(days=1)
