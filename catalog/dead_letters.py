"""Dead letters: what could not be landed or embedded, found again and given another chance."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from catalog.lake import Lake
from catalog.landing import land_events, land_items
from catalog.records import RawRecord
from catalog.report import LandingReport
from catalog.tables import DEAD_LETTERS

Kind = Literal["items", "events", "embed"]

ITEM_FILES = ("items", "movies")
EVENT_FILES = ("events", "ratings", "interactions")

BATCH_LETTERS = 5_000
"""Letters replayed together; they are held with their bytes."""

_GUARD = (*DEAD_LETTERS.key, "failed_at")  # a letter written again in the meantime is another one

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterFilter:
    """Which dead letters are meant: those that agree with everything that is set."""

    stage: str | None = None
    """decode, validate, media or embed."""

    topic: str | None = None
    """Kafka topic or file, as the letter names it."""

    partition: int | None = None
    offset: int | None = None

    since: datetime | None = None
    """Failed at this moment or later; with a time zone."""

    def __post_init__(self) -> None:
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError(f"since must carry a time zone, got {self.since.isoformat()}")

    def matching(self, letters: pl.LazyFrame) -> pl.LazyFrame:
        """The letters that are meant."""
        for name in ("stage", "topic", "partition", "offset"):
            if (value := getattr(self, name)) is not None:
                letters = letters.filter(pl.col(name) == value)
        if self.since is not None:
            letters = letters.filter(pl.col("failed_at") >= self.since)
        return letters


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayReport:
    """What became of replayed letters."""

    landed: int = 0
    """In the lake now, or found there in a newer form; their letters are gone."""

    to_embed: int = 0
    """Of stage `embed`: their letters are gone, and the next embedding tries the items again."""

    rejected: int = 0
    """Wrong as before, or in another way; their letters stay, with the reason as it is now."""

    unknown: int = 0
    """Of topics that hold neither items nor events; untouched."""

    landing: LandingReport = field(default_factory=LandingReport)

    def __add__(self, other: "ReplayReport") -> "ReplayReport":
        return ReplayReport(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )


def kind_of(topic: str, stage: str, *, item_topic: str, event_topic: str) -> Kind | None:
    """What a dead letter holds; None when its topic does not tell.

    >>> kind_of("items/part-1.jsonl", "validate", item_topic="items", event_topic="events")
    'items'
    """
    if stage == "embed":
        return "embed"
    if topic == item_topic or topic.startswith(ITEM_FILES):
        return "items"
    if topic == event_topic or topic.startswith(EVENT_FILES):
        return "events"
    return None


def replay(
    lake: Lake,
    letter_filter: LetterFilter,
    *,
    base_dir: Path | None = None,
    item_topic: str = "items",
    event_topic: str = "events",
    now: datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReplayReport:
    """What came of landing dead letters again, from the bytes they keep.

    A letter goes when its record has landed, never before, so a crash loses none; a letter that is
    written anew while this runs stays. Records of a snapshot are better landed with their folder:
    here they are taken as changes, dated as their source dates them.

    Args:
        lake: read and written.
        letter_filter: the letters to replay.
        base_dir: the folder that pictures named by a path lie in, for letters that come from files.
            A message of Kafka never reads a file.
        item_topic: Kafka topic of items.
        event_topic: Kafka topic of events.
        now: dates what fails again.
        progress: told how many more letters were replayed.
    """
    now = now or datetime.now(UTC)
    meant = letter_filter.matching(lake.scan(DEAD_LETTERS)).select(*_GUARD, "stage").collect()
    topics = meant.select("topic", "stage").unique().rows()
    report = ReplayReport()
    for topic, stage in sorted(topics):
        kind = kind_of(topic, stage, item_topic=item_topic, event_topic=event_topic)
        letters = meant.filter(topic=topic, stage=stage).sort(DEAD_LETTERS.key)
        for batch in letters.iter_slices(BATCH_LETTERS):
            from_kafka = topic in (item_topic, event_topic)
            report += _replay_batch(
                lake, batch, kind=kind, base_dir=None if from_kafka else base_dir, now=now
            )
            if progress:
                progress(batch.height)
    logger.info(
        "stage=replay landed=%d to_embed=%d rejected=%d unknown=%d",
        report.landed,
        report.to_embed,
        report.rejected,
        report.unknown,
    )
    return report


def drop(lake: Lake, letter_filter: LetterFilter) -> int:
    """How many dead letters were thrown away; the records in them are lost."""
    meant = letter_filter.matching(lake.scan(DEAD_LETTERS)).select(_GUARD).collect()
    return lake.delete(DEAD_LETTERS, meant)


class _ReturningLake(Lake):
    """A lake that remembers which letters were put into it, by their keys."""

    def __init__(self, lake: Lake) -> None:
        super().__init__(lake.uri, storage_options=lake._storage_options)
        self.returned = DEAD_LETTERS.empty().select(DEAD_LETTERS.key)

    def put_dead_letters(self, rows: pl.DataFrame, **options: Any) -> int:
        self.returned.extend(rows.select(DEAD_LETTERS.key))
        return super().put_dead_letters(rows, **options)


def _replay_batch(
    lake: Lake, meant: pl.DataFrame, *, kind: Kind | None, base_dir: Path | None, now: datetime
) -> ReplayReport:
    if kind is None:
        return ReplayReport(unknown=meant.height)
    if kind == "embed":
        return ReplayReport(to_embed=lake.delete(DEAD_LETTERS, meant.select(_GUARD)))
    keys = meant.lazy().select(_GUARD)
    letters = lake.scan(DEAD_LETTERS).join(keys, on=_GUARD, how="semi").collect()
    returning = _ReturningLake(lake)
    records = map(_record, letters.iter_rows(named=True))
    landing = _land(records, returning, kind=kind, base_dir=base_dir, now=now)
    settled = letters.join(returning.returned, on=DEAD_LETTERS.key, how="anti")
    lake.delete(DEAD_LETTERS, settled.select(_GUARD))
    return ReplayReport(
        landed=settled.height, rejected=letters.height - settled.height, landing=landing
    )


def _land(
    records: Iterable[RawRecord],
    lake: Lake,
    *,
    kind: Kind,
    base_dir: Path | None,
    now: datetime,
) -> LandingReport:
    if kind == "items":
        return land_items(records, lake, base_dir=base_dir, now=now)
    return land_events(records, lake, now=now)


def _record(letter: dict[str, Any]) -> RawRecord:
    names = ("topic", "partition", "offset", "key", "value", "timestamp")
    return RawRecord(**{name: letter[name] for name in names})
