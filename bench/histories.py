"""Histories in memory against a scan of the events table: a user query's share of the time.

    python -m bench.histories --events 1000000 --users 50000

Events are drawn with a fixed seed: users and items by a power law, half of them impressions. The
last line is JSON: seconds to read all events, bytes of memory a row, milliseconds of a user by the
store and by a scan, and of a refresh after one more commit.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import EVENTS
from features.history_store import HistoryStore, ScannedHistories

START = datetime(2026, 1, 1, tzinfo=UTC)
ACTIONS = ("impression", "impression", "impression", "click", "like", "skip")
BATCH = 200_000
ASKED = 200


def events(rng: np.random.Generator, *, first: int, num: int, users: int) -> pl.DataFrame:
    """Draw rows of `events` with ids from `first` on."""
    who = (users * rng.random(num) ** 2).astype(int)
    what = (100_000 * rng.random(num) ** 2).astype(int)
    ts = pl.Series(rng.integers(0, 90 * 86_400, num)).cast(pl.Int64)
    return pl.DataFrame(
        {
            "event_id": [f"e{first + n}" for n in range(num)],
            "request_id": pl.Series([None] * num, dtype=pl.String),
            "user_id": [f"user{n:07d}" for n in who],
            "item_id": [f"item{n:06d}" for n in what],
            "action": [ACTIONS[n] for n in rng.integers(0, len(ACTIONS), num)],
            "value": pl.Series([None] * num, dtype=pl.Float64),
            "position": pl.Series([None] * num, dtype=pl.Int32),
            "ts": START + ts * timedelta(seconds=1),
        }
    ).cast(EVENTS.schema)


def memory_bytes() -> int:
    """Return the most memory that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def median_ms(call: Callable[[Any], object], arguments: Iterable[Any]) -> float:
    """Return the median time of calls, in ms."""
    times = []
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times))


def main() -> None:
    """Measure, and print the result as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        for first in range(0, args.events, BATCH):
            num = min(BATCH, args.events - first)
            lake.insert_new(EVENTS, events(rng, first=first, num=num, users=args.users))
        store = HistoryStore(lake)
        started = time.perf_counter()
        store.refresh()
        read_s = time.perf_counter() - started
        asked = [f"user{n:07d}" for n in rng.integers(0, args.users, ASKED)]
        store_ms = median_ms(store.of, asked)
        scan_ms = median_ms(ScannedHistories(lake).of, asked[:20])
        lake.insert_new(EVENTS, events(rng, first=args.events, num=1_000, users=args.users))
        started = time.perf_counter()
        store.refresh()
        refresh_ms = 1000 * (time.perf_counter() - started)
        nothing_ms = median_ms(lambda _: store.refresh(), range(20))
        base = store._snapshot.base.rows
        result = {
            "events": args.events,
            "users": args.users,
            "read_s": round(read_s, 2),
            "rows": len(base),
            "bytes_a_row": round(base.estimated_size() / len(base), 1),
            "peak_memory_mb": round(memory_bytes() / 1e6),
            "store_ms": round(store_ms, 3),
            "scan_ms": round(scan_ms, 1),
            "refresh_1000_events_ms": round(refresh_ms, 1),
            "refresh_nothing_ms": round(nothing_ms, 2),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
