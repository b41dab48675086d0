"""A log too long for memory, some of its users at a time."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

ROWS_AT_ONCE = 250_000
"""Events that are in memory at a time, about: some 100 bytes each, and a few times that while pages
are made of them."""


def by_users(
    events: pl.LazyFrame, folder: Path, *, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[pl.DataFrame]:
    """Yield the events of a log, all events of a user together, about `rows_at_once` at a time.

    The log is read once, from its first row to its last, and written to files by a hash of the
    user; one user's events are never cut, however many they are.

    Args:
        events: of a table that does not change meanwhile.
        folder: where the files may lie until they are read.
        rows_at_once: >= 1.
    """
    num_rows = int(events.select(pl.len()).collect(engine="streaming").item())
    num_parts = -(-num_rows // rows_at_once)
    if num_parts <= 1:
        yield events.collect()
        return
    part = pl.col("user_id").hash(seed=0) % num_parts
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for start in range(0, num_rows, rows_at_once):
            rows = events.slice(start, rows_at_once).with_columns(part=part).collect()
            for (number,), some in rows.partition_by(
                "part", as_dict=True, include_key=False
            ).items():
                to = Path(name) / str(number)
                to.mkdir(exist_ok=True)
                some.write_parquet(to / f"{start}.parquet")
        del rows, some
        for to in sorted(Path(name).iterdir()):
            yield pl.read_parquet(to / "*.parquet")
