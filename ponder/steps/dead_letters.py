"""Dead letters of a deployment: list them, look at one, land them again, throw them away."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.tables import DEAD_LETTERS
from ponder.settings import Settings
from ponder.steps.land import Counts
from ponder.steps.progress import Progress, ignore_progress
from ponder.wiring import media_config, open_lake

if TYPE_CHECKING:
    from catalog.ingest.dead_letters import LetterFilter

HEAD = ("topic", "partition", "offset", "stage", "reason", "failed_at")
"""What a list tells of a dead letter."""


def list_letters(settings: Settings, letter_filter: "LetterFilter", *, limit: int) -> list[Counts]:
    """The newest dead letters that are meant, without their bytes, newest first."""
    letters = letter_filter.matching(open_lake(settings).scan(DEAD_LETTERS)).select(HEAD)
    by, descending = ["failed_at", *DEAD_LETTERS.key], [True, False, False, False]
    return letters.sort(by, descending=descending).collect().head(limit).to_dicts()


def show_letter(settings: Settings, topic: str, partition: int, offset: int) -> Counts:
    """A dead letter as it is stored; key and value as text, and in base64 to the last byte.

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
    [letter] = found
    for name in ("key", "value"):
        stored = letter.pop(name)
        letter[name] = None if stored is None else stored.decode(errors="backslashreplace")
        letter[f"{name}_base64"] = None if stored is None else base64.b64encode(stored).decode()
        letter[f"{name}_bytes"] = None if stored is None else len(stored)
    return letter


def replay_letters(
    settings: Settings,
    letter_filter: "LetterFilter",
    *,
    data: Path | None = None,
    progress: Progress = ignore_progress,
) -> Counts:
    """Lands the dead letters that are meant again.

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
        media=media_config(settings),
        progress=progress,
    )
    counts = {name: getattr(report, name) for name in ("landed", "to_embed", "rejected", "unknown")}
    return counts | {"reasons": dict(report.landing.rejected)}


def drop_letters(settings: Settings, letter_filter: "LetterFilter") -> Counts:
    """Throws the dead letters that are meant away, and the records in them."""
    from catalog.ingest.dead_letters import drop

    return {"dropped": drop(open_lake(settings), letter_filter)}


def count_letters(settings: Settings, letter_filter: "LetterFilter") -> int:
    """How many dead letters are meant."""
    letters = letter_filter.matching(open_lake(settings).scan(DEAD_LETTERS))
    return letters.select(pl.len()).collect().item()
