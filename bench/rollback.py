"""What `ponder rollback` does to the index until the earlier version is served.

    python -m bench.rollback --milvus http://127.0.0.1:19530 --items 20000

Two versions of random vectors are filled and promoted, whatever their validation would say; then it
is rolled back to and fro, with nothing deleted and with items that were deleted meanwhile. The last
line is JSON: the seconds of each, and the limit.
"""

import argparse
import json
import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl

from bench.index_memory import batches
from catalog.lake.tables import EMBEDDINGS, ITEMS
from ponder.settings import Settings
from ponder.steps.index import index
from ponder.steps.versions import promote, rollback
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake

TIMES = 5


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--milvus", required=True, help="address of a server; empty: the default")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--deleted", type=int, default=100, help="items deleted before a rollback")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as home:
        first = Settings(home=Path(home), milvus=options.milvus)
        second = first.replace(policy="never")
        for settings in (first, second):
            _fill(settings, options.items, dim=options.dim)
            index(settings)
            promote(settings, force=True)
        unchanged = [rollback(second).index_seconds for _ in range(TIMES)]
        removing = []
        for number in range(TIMES):
            _delete(second, number * options.deleted, options.deleted)
            removing.append(rollback(second).index_seconds)
        with open_index(first) as milvus:
            milvus._client.drop_alias(milvus.config.alias)
            for version in milvus.versions():
                milvus.drop(version)
    print(json.dumps({"unchanged_s": unchanged, "removing_s": removing, "limit_s": 1.0}))


def _fill(settings: Settings, num_items: int, *, dim: int) -> None:
    lake, version = open_lake(settings), configured_version(settings)
    for items, embeddings in batches(num_items, version, dim=dim):
        lake.upsert_items(items)
        lake.insert_new(EMBEDDINGS, embeddings)


def _delete(settings: Settings, first: int, count: int) -> None:
    lake = open_lake(settings)
    ids = [f"item-{n:09d}" for n in range(first, first + count)]
    rows = lake.scan(ITEMS).filter(pl.col("item_id").is_in(ids)).collect()
    later = pl.col("updated_at") + timedelta(days=1)
    lake.upsert_items(rows.with_columns(later, deleted=pl.lit(True)))


if __name__ == "__main__":
    main()
