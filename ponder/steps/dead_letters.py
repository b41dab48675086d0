"""Dead letters of a deployment: list them, look at one, land them again, throw them away."""

import base64
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog.lake.tables import DEAD_LETTERS
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.wiring.stores import image_config, message_decoders, open_lake

if TYPE_CHECKING:
    from catalog.ingest.dead_letters import LetterFilter


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterHead:
    """A dead letter without its bytes."""

    topic: str
    """Kafka topic, or the file's path below the data folder."""

    partition: int

    offset: int
    """Kafka offset, or the row's number in the file, from 0."""

    stage: str
    """decode, validate, media or embed."""

    reason: str
    failed_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter(LetterHead):
    """A dead letter as it is stored; its bytes as text, and in base64 to the last one."""

    timestamp: datetime | None
    """When the broker took it; None for a file's."""

    key: str | None
    """What is not UTF-8 is escaped."""

    key_base64: str | None
    key_bytes: int | None

    value: str | None
    """What is not UTF-8 is escaped."""

    value_base64: str | None
    value_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What became of replayed letters; see `catalog.ingest.dead_letters.ReplayReport`."""

    landed: int
    to_embed: int
    rejected: int
    unknown: int

    reasons: dict[str, int]
    """Of the rejected, by "stage: reason"."""


def list_letters(
    settings: Settings, letter_filter: "LetterFilter", *, limit: int
) -> list[LetterHead]:
    """Return the newest dead letters that are meant, newest first."""
    head = [field.name for field in fields(LetterHead)]
    letters = letter_filter.matching(open_lake(settings).scan(DEAD_LETTERS)).select(head)
    by, descending = ["failed_at", *DEAD_LETTERS.key], [True, False, False, False]
    newest = letters.sort(by, descending=descending).collect().head(limit)
    return [LetterHead(**row) for row in newest.iter_rows(named=True)]


def show_letter(settings: Settings, topic: str, partition: int, offset: int) -> Letter:
    """Return one dead letter.

    Raises:
        LookupError: there is none.
    """
    from catalog.ingest.dead_letters import LetterFilter

    place = LetterFilter(topic=topic, partition=partition, offset=offset)
    found = place.matching(open_lake(settings).scan(DEAD_LETTERS)).collect().to_dicts()
    if not found:
        raise LookupError(
            f"there is no dead letter of {topic!r}, partition {partition}, offset {offset}; "
            "`ponder dead-letters list` shows those there are"
        )
    [row] = found
    key, value = row.pop("key"), row.pop("value")
    return Letter(**row, **_shown("key", key), **_shown("value", value))


def _shown(name: str, stored: bytes | None) -> dict[str, Any]:
    """The three fields that show some bytes."""
    if stored is None:
        return {name: None, f"{name}_base64": None, f"{name}_bytes": None}
    return {
        name: stored.decode(errors="backslashreplace"),
        f"{name}_base64": base64.b64encode(stored).decode(),
        f"{name}_bytes": len(stored),
    }


def replay_media_letters(settings: Settings) -> Replayed:
    """Land those again whose images could not be had: their servers may be back."""
    from catalog.ingest.dead_letters import LetterFilter

    return replay_letters(settings, LetterFilter(stage="media"))


def replay_letters(
    settings: Settings,
    letter_filter: "LetterFilter",
    *,
    data: Path | None = None,
    progress: Progress = ignore_progress,
) -> Replayed:
    """Land the dead letters that are meant again.

    Those of stage `embed` are cleared, so that the next embedding tries their items.

    Args:
        settings: the deployment.
        letter_filter: the letters to replay.
        data: the folder that images named by a path lie in, for letters that come from files.
        progress: told how many more letters were replayed.
    """
    from catalog.ingest.dead_letters import replay

    report = replay(
        open_lake(settings),
        letter_filter,
        base_dir=data,
        item_topic=settings.kafka_item_topic,
        event_topic=settings.kafka_event_topic,
        image_config=image_config(settings),
        decoders=message_decoders(settings),
        progress=progress,
    )
    return Replayed(
        landed=report.landed,
        to_embed=report.to_embed,
        rejected=report.rejected,
        unknown=report.unknown,
        reasons=dict(report.landing.rejected),
    )


def drop_letters(settings: Settings, letter_filter: "LetterFilter") -> int:
    """Throw the dead letters that are meant away, with the records in them; return how many."""
    from catalog.ingest.dead_letters import drop

    return drop(open_lake(settings), letter_filter)


def count_letters(settings: Settings, letter_filter: "LetterFilter") -> int:
    """Count the dead letters that are meant."""
    letters = letter_filter.matching(open_lake(settings).scan(DEAD_LETTERS))
    return letters.select(pl.len()).collect().item()
