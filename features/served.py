"""Features as a service computed them, kept in files: what a ranker saw, and not what it would see.

Beside features that are made again of the log, they tell whether the two agree. A file holds what
was ranked in a minute; each schema and centring has a folder of its own, for they do not compare.
"""

import io
import threading
import time
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from catalog.atomic_file import write_atomically
from features.centring import Centring
from features.table import FeatureTable

MAX_ROWS = 50_000
"""Rows held at most before they are written."""

HELD_S = 60.0
"""Seconds for which a row is held at most: so many are lost when a service is killed."""

SHOWN_WITHIN = timedelta(hours=1)
"""A page shows what was ranked so long before it at most."""


class ServedFeatures:
    """Keeps feature tables of requests; safe for several threads."""

    def __init__(self, folder: Path) -> None:
        """Write below a folder, which comes into being with the first rows."""
        self._folder = folder
        self._lock = threading.Lock()
        self._held: list[FeatureTable] = []
        self._num_rows, self._since = 0, 0.0

    def add(self, table: FeatureTable) -> None:
        """Keep the rows of a request."""
        with self._lock:
            if not self._held:
                self._since = time.monotonic()
            self._held.append(table)
            self._num_rows += len(table.frame)

    def flush(self, *, now: bool = False) -> bool:
        """Write what is held, where it is much, old, or wanted `now`; return whether it was."""
        with self._lock:
            is_due = self._num_rows >= MAX_ROWS or time.monotonic() - self._since >= HELD_S
            if not self._held or not (is_due or now):
                return False
            held, self._held, self._num_rows = self._held, [], 0
        by_kind: dict[Path, list[pl.DataFrame]] = {}
        for table in held:
            kind = folder_of(self._folder, table.schema_hash, table.centring)
            by_kind.setdefault(kind, []).append(table.frame)
        for kind, frames in by_kind.items():
            rows = pl.concat(frames)
            for (day,), part in rows.group_by(pl.col("ts").dt.date()):
                buffer = io.BytesIO()
                part.write_parquet(buffer, compression="zstd")
                path = kind / f"date={day}" / f"{uuid.uuid4().hex}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, buffer.getvalue())
        return True


def folder_of(folder: Path, schema_hash: str, centring: Centring) -> Path:
    """Return where rows of a schema and a centring are kept."""
    return folder / f"{schema_hash}-{centring.id}"


def as_served(requests: pl.DataFrame, folder: Path, names: list[str]) -> pl.DataFrame:
    """Return the rows of requests that were served, with their features as they were.

    An item's features are those of the newest time that it was ranked for the user, within
    `SHOWN_WITHIN` before the page that shows it. Ranks and gaps are among what was ranked then.

    Args:
        requests: user_id, item_id, ts and whatever else is kept.
        folder: as of `folder_of`.
        names: of the features.

    Returns:
        Those of `requests` that were served, same order.
    """
    newest, oldest = requests["ts"].max(), requests["ts"].min()
    if not isinstance(newest, datetime) or not isinstance(oldest, datetime):
        return requests.clear()
    days = pl.date_range((oldest - SHOWN_WITHIN).date(), newest.date(), eager=True)
    paths = [path for day in days for path in folder.glob(f"date={day}/*.parquet")]
    if not paths:
        return requests.clear()
    served = pl.concat([pl.read_parquet(path) for path in sorted(paths)])
    keys = ["user_id", "item_id", "ts"]
    known = served.select(*keys, *names, ranked_at="ts").sort("ts")
    found = (
        requests.with_row_index("row")
        .sort("ts")
        .join_asof(
            known,
            on="ts",
            by=["user_id", "item_id"],
            strategy="backward",
            tolerance=SHOWN_WITHIN,
            check_sortedness=False,  # cannot be checked per key; both sides are sorted above
        )
        .sort("row")
    )
    return found.filter(pl.col("ranked_at").is_not_null()).drop("row", "ranked_at")
