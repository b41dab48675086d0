"""What a search finds near a vector that many items share, with and without a place for crowds.

    python -m bench.crowds --milvus http://127.0.0.1:19530 --items 20000 --identical 5000

A quarter of the items has one vector, a tenth lies near it. The last line is JSON: the share of the
ten best that is found for queries near the crowd, and the median time of a search in milliseconds.
"""

import argparse
import json
import time
from datetime import UTC, datetime

import numpy as np
import polars as pl

from recall.collection import IndexConfig
from recall.index import ItemIndex

VERSION = "crowds"
NUM_QUERIES = 200


def main() -> None:
    """Measure one catalogue in two indexes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--milvus", required=True, help="address of a Milvus server")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--identical", type=int, default=5_000)
    parser.add_argument("--dim", type=int, default=64)
    options = parser.parse_args()
    vectors_ND, queries_QD = world(options.items, identical=options.identical, dim=options.dim)
    rows = _rows(vectors_ND)
    found = {}
    for name, max_identical in (("all in the graph", options.items), ("16 in the graph", 16)):
        config = IndexConfig(uri=options.milvus, alias="pondercrowds", max_identical=max_identical)
        with ItemIndex.open(config) as index:
            index.sync(VERSION, rows, dim=options.dim)
            try:
                found[name] = _measured(index, vectors_ND, queries_QD)
            finally:
                index.drop(VERSION)
        print(name, found[name], flush=True)
    print(json.dumps(found))


def world(num_items: int, *, identical: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors, among them a crowd and its neighbours, and queries near those."""
    rng = np.random.default_rng(0)
    centre_D = _unit(rng.normal(size=(1, dim)))
    num_near = num_items // 10
    near_ND = _unit(centre_D + rng.normal(size=(num_near + 1, dim)) * 0.5 / np.sqrt(dim))
    far_ND = _unit(rng.normal(size=(num_items - identical - num_near, dim)))
    vectors_ND = np.concatenate([near_ND, np.repeat(near_ND[-1:], identical - 1, axis=0), far_ND])
    asked_QD = near_ND[:NUM_QUERIES]
    queries_QD = _unit(asked_QD + rng.normal(size=asked_QD.shape) * 0.3 / np.sqrt(dim))
    return rng.permutation(vectors_ND).astype(np.float32), queries_QD


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


def _rows(vectors_ND: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": [f"item-{n:08d}" for n in range(len(vectors_ND))],
            "vector": vectors_ND.tolist(),
            "content_hash": [f"{n:064x}" for n in range(len(vectors_ND))],
            "category": ["c"] * len(vectors_ND),
            "tags": [[]] * len(vectors_ND),
            "attributes": ["{}"] * len(vectors_ND),
            "created_at": [datetime(2026, 1, 1, tzinfo=UTC)] * len(vectors_ND),
            "codes": [""] * len(vectors_ND),
        },
        schema_overrides={"vector": pl.List(pl.Float32), "tags": pl.List(pl.String)},
    )


def _measured(index: ItemIndex, vectors_ND: np.ndarray, queries_QD: np.ndarray) -> dict[str, float]:
    shares, times_ms = [], []
    for query_D in queries_QD:
        edge = np.sort(vectors_ND @ query_D)[-10]
        started = time.perf_counter()
        found = index.search(query_D[None], VERSION, limit=10)
        times_ms.append(1_000 * (time.perf_counter() - started))
        shares.append((found["recall_score"] >= edge - 1e-5).mean())
    return {"recall@10": float(np.mean(shares)), "median_ms": float(np.median(times_ms))}


if __name__ == "__main__":
    main()
