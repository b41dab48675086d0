"""What an export takes in memory, by the length of the log.

    python -m bench.export_memory [--impressions 300000 1000000 3000000] [--ratings 100000 300000]

For each length a lake is made: 20,000 items of 64 dimensions, pages of ten on sixty days, a tenth
of what was shown liked, a user for every 150 impressions, landed in ten parts. `ponder features
export` then runs in a process of its own, whose peak is what the system says of it (`ru_maxrss`).
Of a log of ratings 200 users share the ratings, half of which are likes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, EVENTS, ITEMS, TIME
from ponder.settings import Settings
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake

NUM_ITEMS, DIM, PAGE, DAYS, LANDINGS = 20_000, 64, 10, 60, 10
PER_USER, NUM_RATERS = 150, 200
START = datetime(2026, 1, 1, tzinfo=UTC)
LIKED_SHARE = 0.1


def write_items(lake: Lake, version: str) -> None:
    """Write items that were there from the start, and their vectors."""
    ids = [f"item-{n:05d}" for n in range(NUM_ITEMS)]
    items = pl.DataFrame({"item_id": ids}).with_columns(
        title=pl.col("item_id"),
        category="category-" + (pl.int_range(pl.len()) % 50).cast(pl.String),
        price=pl.int_range(pl.len()).cast(pl.Float64) % 90,
        content_hash=pl.col("item_id"),
        attributes=pl.lit("{}"),
        tags=pl.lit([], pl.List(pl.String)),
        created_at=pl.lit(START, TIME),
        updated_at=pl.lit(START, TIME),
        deleted=pl.lit(False),
    )
    lake.upsert_items(_filled(items, ITEMS.schema), landed_at=START)
    vectors_ND = np.random.default_rng(0).normal(size=(NUM_ITEMS, DIM)).astype(np.float32)
    vectors = items.select(
        "item_id",
        "content_hash",
        vector=pl.Series(vectors_ND).cast(pl.List(pl.Float32)),
        model_version=pl.lit(version),
    )
    lake.insert_new(EMBEDDINGS, _filled(vectors, EMBEDDINGS.schema))


def write_events(lake: Lake, num_impressions: int) -> None:
    """Write pages and likes, a part of the days at a time."""
    rng = np.random.default_rng(1)
    num_users = max(num_impressions // PER_USER, 1)
    pages = num_impressions // PAGE // LANDINGS
    for landing in range(LANDINGS):
        begin = START + timedelta(days=landing * DAYS // LANDINGS)
        minutes = np.sort(rng.integers(0, DAYS // LANDINGS * 1440, pages))
        shown = pl.DataFrame(
            {
                "request_id": np.repeat([f"r{landing}-{n}" for n in range(pages)], PAGE),
                "user_id": np.repeat(rng.integers(num_users, size=pages), PAGE),
                "item_id": (rng.power(3, pages * PAGE) * NUM_ITEMS).astype(np.int64),
                "minute": np.repeat(minutes, PAGE),
                "position": np.tile(np.arange(PAGE), pages),
            }
        ).with_columns(action=pl.lit("impression"))
        liked = shown.filter(pl.Series(rng.random(len(shown)) < LIKED_SHARE))
        liked = liked.with_columns(action=pl.lit("click"), minute=pl.col("minute") + 1)
        events = pl.concat([shown, liked]).select(
            (f"e{landing}-" + pl.int_range(pl.len()).cast(pl.String)).alias("event_id"),
            "request_id",
            ("user-" + pl.col("user_id").cast(pl.String)).alias("user_id"),
            ("item-" + pl.col("item_id").cast(pl.String).str.zfill(5)).alias("item_id"),
            "action",
            pl.col("position").cast(pl.Int32),
            (pl.lit(begin, TIME) + pl.duration(minutes="minute")).alias("ts"),
        )
        landed_at = begin + timedelta(days=DAYS // LANDINGS, hours=1)
        lake.upsert_events(_filled(events, EVENTS.schema), landed_at=landed_at)


def write_ratings(lake: Lake, num_ratings: int) -> None:
    """Write ratings, no item twice of a user."""
    rng = np.random.default_rng(2)
    each = num_ratings // NUM_RATERS
    items = [rng.choice(NUM_ITEMS, each, replace=False) for _ in range(NUM_RATERS)]
    ratings = pl.DataFrame(
        {
            "user_id": np.repeat([f"user-{n}" for n in range(NUM_RATERS)], each),
            "item_id": [f"item-{n:05d}" for n in np.concatenate(items)],
            "value": rng.choice([2.0, 4.0], num_ratings // NUM_RATERS * NUM_RATERS),
        }
    )
    minutes = rng.integers(0, DAYS * 1440, len(ratings))
    events = ratings.with_columns(
        ("e-" + pl.int_range(pl.len()).cast(pl.String)).alias("event_id"),
        pl.lit("rating").alias("action"),
        (pl.lit(START, TIME) + pl.duration(minutes=pl.Series(minutes))).alias("ts"),
    )
    landed_at = START + timedelta(days=DAYS + 1)
    lake.upsert_events(_filled(events, EVENTS.schema), landed_at=landed_at)


def measured(num: int, write: Callable[[Lake, int], None], what: str) -> dict[str, object]:
    """Return what the export of a log took, of so many of what is written."""
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(home=Path(name))
        lake = open_lake(settings)
        write_items(lake, configured_version(settings))
        write(lake, num)
        command = [sys.executable, "-m", "ponder", "--home", name, "features", "export", "--json"]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            told = json.loads(child.stdout.read()) if child.stdout else {}
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        return {
            what: num,
            "rows": told["num_rows"],
            "peak_mib": round(usage.ru_maxrss / 1024),
            "seconds": round(time.perf_counter() - started, 1),
            "processor_s": round(usage.ru_utime + usage.ru_stime, 1),
        }


def _filled(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    missing = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in schema.items()
        if name not in rows.columns
    ]
    return rows.with_columns(missing).select(schema.names()).cast(schema)


def main() -> None:
    """Measure each length, and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--impressions", type=int, nargs="*", default=[300_000, 1_000_000, 3_000_000]
    )
    parser.add_argument("--ratings", type=int, nargs="*", default=[])
    options = parser.parse_args()
    asked = [(num, write_events, "impressions") for num in options.impressions]
    asked += [(num, write_ratings, "ratings") for num in options.ratings]
    for num, write, what in asked:
        print(json.dumps(measured(num, write, what) | {"load": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()
