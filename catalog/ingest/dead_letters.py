"""Dead letters: what could not be landed or embedded, found again and given another chance."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from catalog.images.fetcher import ImageFetcher
from catalog.images.image import DEFAULTS, ImageConfig
from catalog.ingest.batch import Batch
from catalog.ingest.intake import Intake
from catalog.ingest.message_parsing import JSON, Decoders
from catalog.ingest.report import LandingReport
from catalog.lake.dead_letter_kinds import HTTP_TOPIC, Kind, kind_of
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, TABLES

STAGES = ("decode", "validate", "media", "embed")

BATCH_LETTERS = 5_000
"""Letters replayed together, at most."""

BATCH_BYTES = 64_000_000
"""Of their values, which are held; one letter more at most."""

_GUARD = (*DEAD_LETTERS.key, "failed_at")  # a letter written again in the meantime is another one

logger = logging.getLogger(__name__)


class _Message(NamedTuple):
    """What a letter holds, as kafka-python's consumer gave it or would have."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterFilter:
    """Which dead letters are meant: those that agree with everything that is set."""

    stage: str | None = None
    """One of `STAGES`."""

    topic: str | None = None
    """Kafka topic or file, as the letter names it."""

    partition: int | None = None
    offset: int | None = None

    since: datetime | None = None
    """Failed at this moment or later; with a time zone."""

    def __post_init__(self) -> None:
        if self.stage not in (None, *STAGES):
            raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {self.stage!r}")
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError(f"since must carry a time zone, got {self.since.isoformat()}")

    def matching(self, letters: pl.LazyFrame) -> pl.LazyFrame:
        """Filter the letters that are meant."""
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


def replay(
    lake: Lake,
    letter_filter: LetterFilter,
    *,
    base_dir: Path | None = None,
    item_topic: str = "items",
    event_topic: str = "events",
    decoders: Decoders = JSON,
    image_config: ImageConfig = DEFAULTS,
    progress: Callable[[int], None] | None = None,
) -> ReplayReport:
    """Land dead letters again, from the bytes they keep.

    A letter goes when its record has landed, never before, so a crash loses none; a letter that is
    written anew while this runs stays. Records of a snapshot are better landed with their folder:
    here they are taken as changes, dated as their source dates them.

    Args:
        lake: read and written.
        letter_filter: the letters to replay.
        base_dir: the folder that images named by a path lie in, for letters that come from files.
            A message of Kafka or of the service never reads a file.
        item_topic: Kafka topic of items.
        event_topic: Kafka topic of events.
        decoders: of the messages of the two topics.
        image_config: where images may be fetched from, and their limits.
        progress: told how many more letters were replayed.
    """
    num_bytes = pl.col("value").bin.size().fill_null(0).alias("num_bytes")
    stored = letter_filter.matching(lake.scan(DEAD_LETTERS))
    meant = stored.select(*_GUARD, "stage", num_bytes).sort(DEAD_LETTERS.key).collect()
    report = ReplayReport()
    with (
        ImageFetcher(image_config) as inline,
        ImageFetcher(image_config, base_dir=base_dir) as with_files,
    ):
        decoded = Intake(lake=lake, images=inline, decoders=decoders)
        of_files = Intake(lake=lake, images=with_files)
        by_http = Intake(lake=lake, images=inline)
        for topic, stage in sorted(meant.select("topic", "stage").unique().rows()):
            kind = kind_of(topic, stage, item_topic=item_topic, event_topic=event_topic)
            intake = decoded if topic in (item_topic, event_topic) else of_files
            if topic == HTTP_TOPIC:  # JSON, whatever the topics speak, and no way to our files
                intake = by_http
            for letters in _slices(meant.filter(topic=topic, stage=stage)):
                report += _replay_batch(intake, letters, kind=kind)
                if progress:
                    progress(letters.height)
    logger.info(
        "stage=replay landed=%d to_embed=%d rejected=%d unknown=%d",
        report.landed,
        report.to_embed,
        report.rejected,
        report.unknown,
    )
    return report


def drop(lake: Lake, letter_filter: LetterFilter) -> int:
    """Throw dead letters away, and the records in them; return how many."""
    meant = letter_filter.matching(lake.scan(DEAD_LETTERS)).select(_GUARD).collect()
    return lake.delete(DEAD_LETTERS, meant)


def _replay_batch(intake: Intake, meant: pl.DataFrame, *, kind: Kind | None) -> ReplayReport:
    if kind is None:
        return ReplayReport(unknown=meant.height)
    lake = intake.lake
    if kind == "embed":
        return ReplayReport(to_embed=lake.delete(DEAD_LETTERS, meant.select(_GUARD)))
    keys = meant.lazy().select(_GUARD)
    letters = lake.scan(DEAD_LETTERS).join(keys, on=_GUARD, how="semi").collect()
    batch = Batch()
    intake.parse(TABLES[kind], [_message(each) for each in letters.iter_rows(named=True)], batch)
    landing = intake.write(TABLES[kind], batch)
    settled = letters.join(batch.dead_letters(), on=DEAD_LETTERS.key, how="anti")
    lake.delete(DEAD_LETTERS, settled.select(_GUARD))
    return ReplayReport(
        landed=settled.height, rejected=letters.height - settled.height, landing=landing
    )


def _slices(letters: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield letters that are held together, cut where their number or their size says so."""
    size, count = pl.col("num_bytes").cum_sum() // BATCH_BYTES, pl.int_range(pl.len())
    cut = letters.with_columns(slice=pl.struct(size, (count // BATCH_LETTERS).alias("count")))
    yield from cut.partition_by("slice", maintain_order=True, include_key=False)


def _message(letter: Mapping[str, Any]) -> _Message:
    sent = letter["timestamp"]
    time_ms = None if sent is None else round(sent.timestamp() * 1000)
    names = ("topic", "partition", "offset", "key", "value")
    return _Message(**{name: letter[name] for name in names}, timestamp=time_ms)
