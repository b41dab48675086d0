"""Where records come from when they do not come from Kafka: a folder, of one kind or another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from catalog.ingest.folder import FolderSource, has_records
from catalog.ingest.movielens import MovieLensSource, is_movielens
from catalog.records import RawRecord


class Source(Protocol):
    """Something that yields item and event records, the same ones every time it is asked."""

    @property
    def is_snapshot(self) -> bool:
        """True when the items are the whole catalogue, without times of change."""
        ...

    @property
    def base_dir(self) -> Path:
        """The folder that images named by a path lie in."""
        ...

    def items(self) -> Iterator[RawRecord]:
        """Yield the records of the `items` topic, not checked yet."""
        ...

    def events(self) -> Iterator[RawRecord]:
        """Yield the records of the `events` topic, not checked yet."""
        ...


def open_source(path: Path, *, snapshot: bool = False) -> Source:
    """Open the source that a folder holds, recognised by its files.

    Args:
        path: the folder.
        snapshot: its items are the whole catalogue, so what it lacks is gone; always so for
            MovieLens, whose files have no other way to say it.

    MovieLens comes first: the file names of its Parquet form would pass as those of a data folder.

    Raises:
        ValueError: the folder does not exist or holds neither kind.
    """
    if not path.is_dir():
        raise ValueError(f"the source must be a folder, got {str(path)!r}")
    if is_movielens(path):
        return MovieLensSource(path)
    if has_records(path):
        return FolderSource(path, is_snapshot=snapshot)
    raise ValueError(
        f"{str(path)!r} must hold items*.jsonl, items*.parquet or the same for events, or "
        "MovieLens (movies.csv with ratings.csv, or items.parquet with interactions.parquet)"
    )
