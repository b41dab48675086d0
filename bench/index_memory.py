"""Peak memory and time of the steps that read the whole catalogue, by its size.

    python -m bench.index_memory --milvus http://127.0.0.1:19530 --items 20000 100000 500000

Makes a lake of that many items with random vectors, and runs each step in a process of its own,
which is asked for its peak memory when it ends. A validation loads no model and lets any recall
pass, for a graph finds little among random vectors. The last line is JSON: per step the peaks in
MB, the largest peak over the smallest, and the time per item over that of the smallest catalogue.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from catalog.lake.tables import EMBEDDINGS, ITEMS
from ponder.settings import Settings
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake

STEPS = {
    "index": "from ponder.steps.index import index as step",
    "audit": "from ponder.steps.audit import audit as step",
    "validate": "from ponder.steps.validation import validate as step",
    "status": "from ponder.steps.status import status as step",
    "plan": "from ponder.steps.embed import plan as step",
}
CHILD = """
import json, pathlib, re, sys, time
{importing}
from ponder.settings import Settings
settings = Settings(
    home=sys.argv[1], milvus=sys.argv[2], validation={{"encoded": 0, "min_recall": 0}}
)
started = time.perf_counter()
step(settings)
seconds = time.perf_counter() - started
told = pathlib.Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak too
print(json.dumps([seconds, int(re.search(r"VmHWM:\\s+(\\d+) kB", told)[1]) / 1024]))
"""
START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS_AT_ONCE = 20_000


def main() -> None:
    """Measure every step at every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--milvus", required=True, help="address of a server; empty: the default")
    parser.add_argument("--items", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=list(STEPS))
    options = parser.parse_args()
    found: dict[str, list[tuple[int, float, float]]] = {step: [] for step in options.steps}
    for num_items in sorted(options.items):
        with tempfile.TemporaryDirectory(prefix="ponder-bench-") as home:
            settings = Settings(home=Path(home), milvus=options.milvus)
            _fill(settings, num_items, dim=options.dim)
            for step in options.steps:
                seconds, peak_mb = _run(step, settings)
                found[step].append((num_items, seconds, peak_mb))
                print(f"{num_items:>9} {step:<8} {seconds:8.1f} s {peak_mb:8.0f} MB", flush=True)
            _forget(settings)
    print(json.dumps({step: _summary(rows) for step, rows in found.items()}))


def _run(step: str, settings: Settings) -> tuple[float, float]:
    code = CHILD.format(importing=STEPS[step])
    command = [sys.executable, "-c", code, str(settings.home), settings.milvus]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, peak_mb = json.loads(told.splitlines()[-1])
    return seconds, peak_mb


def _summary(rows: list[tuple[int, float, float]]) -> dict[str, object]:
    peaks = [peak for _, _, peak in rows]
    per_item = [seconds / num_items for num_items, seconds, _ in rows]
    return {
        "items": [num_items for num_items, _, _ in rows],
        "seconds": [round(seconds, 1) for _, seconds, _ in rows],
        "peak_mb": [round(peak) for peak in peaks],
        "growth": round(max(peaks) / min(peaks), 2),
        "time_per_item": round(per_item[-1] / per_item[0], 2),
        "limit": 1.2,
    }


def _fill(settings: Settings, num_items: int, *, dim: int) -> None:
    lake, version = open_lake(settings), configured_version(settings)
    started = time.perf_counter()
    for items, embeddings in batches(num_items, version, dim=dim):
        lake.upsert_items(items)
        lake.insert_new(EMBEDDINGS, embeddings)
    print(f"{num_items:>9} lake     {time.perf_counter() - started:8.1f} s", flush=True)


def batches(
    num_items: int, version: str, *, dim: int
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield rows of `items` and of `embeddings`, some thousand at a time, in no order of ids."""
    rng = np.random.default_rng(0)
    order = rng.permutation(num_items)
    for begin in range(0, num_items, ROWS_AT_ONCE):
        numbers = order[begin : begin + ROWS_AT_ONCE]
        vectors_ND = rng.normal(size=(len(numbers), dim)).astype(np.float32)
        vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        keys = {
            "item_id": [f"item-{n:09d}" for n in numbers],
            "content_hash": [f"{n:064x}" for n in numbers],
        }
        items = {
            "title": [f"Item number {n}" for n in numbers],
            "text": ["A text of some forty words. " * 8] * len(numbers),
            "category": [f"category-{n % 50}" for n in numbers],
            "tags": [[f"tag-{n % 20}"] for n in numbers],
            "attributes": [f'{{"brand": "b{n % 99}", "price": {n % 1_000}}}' for n in numbers],
            "created_at": [START] * len(numbers),
            "updated_at": [START + timedelta(seconds=int(n)) for n in numbers],
            "deleted": [False] * len(numbers),
        }
        embedded = {
            "model_version": [version] * len(numbers),
            "vector": vectors_ND.tolist(),
            "action": ["direct"] * len(numbers),
            "gate_probability": [0.0] * len(numbers),
            "rationale_tokens": [0] * len(numbers),
        }
        yield _rows(ITEMS.schema, keys | items), _rows(EMBEDDINGS.schema, keys | embedded)


def _rows(schema: pl.Schema, columns: dict[str, list[object]]) -> pl.DataFrame:
    count = len(columns["item_id"])
    return pl.DataFrame({name: columns.get(name, [None] * count) for name in schema}, schema=schema)


def _forget(settings: Settings) -> None:
    with open_index(settings) as index:
        for version in index.versions():
            index.drop(version)


if __name__ == "__main__":
    main()
